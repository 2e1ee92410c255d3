"""Raft as a library: `core` decides, `storage` remembers, `node` runs both on asyncio, `observers` lets others follow."""
