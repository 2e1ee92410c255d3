"""`python -m systems.redis --environment FILE`: one Redis server or Sentinel, as its role says."""

from harness.foreign import run_foreign
from systems.redis.node import redis_node

if __name__ == "__main__":
    run_foreign(redis_node)
