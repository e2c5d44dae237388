"""The asyncio edge of a store; its turn is driven by the simulator."""
