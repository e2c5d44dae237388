"""The disk: layout, the contract of both adapters, and what only real processes can show."""
