from __future__ import annotations

from pathlib import Path

import pytest

from harness.clusters.ssh.backend import SshBackend
from harness.clusters.ssh.inventory import read_inventory
from harness.errors import UserError


def written(folder: Path, text: str) -> Path:
    (folder / "key").touch()
    path = folder / "hosts.toml"
    path.write_text(text.replace("KEY", str(folder / "key")))
    return path


def test_what_all_hosts_share_stands_on_top(tmp_path: Path) -> None:
    text = 'user = "u"\nkey = "KEY"\n[[hosts]]\naddress = "a"\n[[hosts]]\naddress = "b"\nport = 2222\nuser = "v"\n'
    first, second = read_inventory(written(tmp_path, text))
    assert (first.user, first.port, second.user, second.port) == ("u", 22, "v", 2222)


@pytest.mark.parametrize(
    ("top", "host", "allowed"),
    [("", "", False), ("disposable = true\n", "", True), ("", "disposable = true\n", False)],
)
def test_clocks_are_set_only_where_every_host_is_disposable(
    tmp_path: Path, top: str, host: str, allowed: bool
) -> None:
    text = f'user = "u"\nkey = "KEY"\n{top}[[hosts]]\naddress = "a"\n{host}[[hosts]]\naddress = "b"\n'
    path = written(tmp_path, text)
    assert SshBackend().sets_clocks({"ssh.inventory": str(path)}) is allowed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('user = "u"\nkey = "KEY"\n', "names no host"),
        ('user = "u"\n[[hosts]]\naddress = "a"\n', "key"),
        ('user = "u"\nkey = "KEY"\n[[hosts]]\naddress = "a"\npasword = "x"\n', "pasword"),
        ('user = "u"\nkey = "KEY"\n[[hosts]]\naddress = "a"\nport = "x"\n', "port"),
        ('user = "u"\nkey = "KEY"\n[[hosts]]\naddress = "a"\n[[hosts]]\naddress = "a"\n', "twice"),
        ('user = "u"\nkey = "nowhere"\n[[hosts]]\naddress = "a"\n', "no key file nowhere"),
        ("hosts = [\n", "hosts.toml"),
    ],
)
def test_a_bad_inventory_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        read_inventory(written(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_inventory_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--set ssh\.inventory=FILE"):
        read_inventory(tmp_path / "none.toml")
