"""The asyncio edge of a store; and its turn, step by step, where a damaged disk matters."""
