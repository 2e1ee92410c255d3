"""Backend `ssh`: a host a node, reached with paramiko.

`inventory` names the hosts, `connection` reaches one, `install` brings the program there, `agent` runs there and does
what it is asked to, `host` speaks to it, `cluster` is the fault surface, `backend` what is registered.
"""
