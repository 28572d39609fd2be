"""A node cannot change the machine it runs on, and what it needs to change stays its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.user_namespaces import needs_namespaces, printed

pytestmark = needs_namespaces


def run(script: str, *arguments: str) -> str:
    prelude = "import os, sys\nfrom inference_fleet.sandbox.node import mounts\nmounts.make_private('/')\n"
    return printed(prelude + script, *arguments)


# Opened, not written: where the protection failed, the test must not be what changes the machine.
_OPENED = """
mounts.protect_machine_settings()
try:
    os.close(os.open(sys.argv[1], os.O_WRONLY))
    print("opened")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/panic_on_oops",
        "/proc/sys/kernel/keys/root_maxkeys",
        "/proc/sys/fs/inotify/max_user_watches",
        "/sys/module/printk/parameters/time",
    ],
)
def test_settings_of_the_machine_are_read_only_on_a_node(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {path}")
    assert run(_OPENED, path) == "Read-only file system\n"


def test_settings_of_the_nodes_own_network_can_be_written() -> None:
    assert run(_OPENED, "/proc/sys/net/ipv4/ip_forward") == "opened\n"


def test_a_missing_folder_is_provided_without_writing_to_the_machine(tmp_path: Path) -> None:
    source, parent = tmp_path / "source", tmp_path / "parent"
    source.mkdir()
    parent.mkdir()
    (parent / "neighbour").write_text("there")
    (parent / "link").symlink_to("neighbour")
    script = """
source, parent = sys.argv[1:]
tree = mounts.Tree()
tree.lay(source, parent + "/a/b")
open(parent + "/a/b/file", "w").close()
tree.lay(source, parent + "/a/c")
print(open(parent + "/neighbour").read(), open(parent + "/link").read(), os.listdir(parent + "/a/c"))
"""
    assert run(script, str(source), str(parent)) == "there there ['file']\n"
    assert (source / "file").exists()
    assert sorted(path.name for path in parent.iterdir()) == ["link", "neighbour"]


def test_a_file_is_provided_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    (tmp_path / "parent").mkdir()
    script = "mounts.Tree().lay(sys.argv[1] + '/source', sys.argv[1] + '/parent/x/file')\n"
    script += "print(open(sys.argv[1] + '/parent/x/file').read())"
    assert run(script, str(tmp_path)) == "content\n"
    assert list((tmp_path / "parent").iterdir()) == []


def test_what_is_read_only_can_be_made_writable_again(tmp_path: Path) -> None:
    script = """
path = sys.argv[1]
mounts.protect(path)
try:
    open(path + "/a", "w")
except OSError as error:
    print(error.strerror)
mounts.make_writable(path)
open(path + "/b", "w").close()
"""
    assert run(script, str(tmp_path)) == "Read-only file system\n"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_changes_of_owner_succeed_unmade(tmp_path: Path) -> None:
    script = """
from inference_fleet.sandbox.node.ownership import pretend_ownership
path = sys.argv[1]
pretend_ownership()
os.chown(path, 65532, 65532)
os.lchown(path, 65532, 65532)
folder = os.open(path, os.O_RDONLY)
os.chown(folder, 65532, 65532)
os.chown("x", 65532, 65532, dir_fd=folder)
print(os.stat(path).st_uid, os.access(path, os.W_OK))
"""
    assert run(script, str(tmp_path)) == "0 True\n"
