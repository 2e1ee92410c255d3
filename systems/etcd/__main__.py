"""`python -m systems.etcd --environment FILE`: one etcd member."""

from harness.foreign import run_foreign
from systems.etcd.node import EtcdMember

if __name__ == "__main__":
    run_foreign(EtcdMember)
