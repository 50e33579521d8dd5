from __future__ import annotations

import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from launcher import places
from launcher.places import (
    BLOCK_PORTS,
    InUse,
    Places,
    claim_ports,
    is_free,
    lock,
    shared,
    write_secret,
)


@pytest.fixture(autouse=True)
def own_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Instances that run beside the tests keep their blocks of ports to themselves."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(places, "LONGEST_SHARED", 1000)
    return tmp_path


def test_a_lock_is_held_by_one_and_freed_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    code = "import sys; from pathlib import Path; from launcher.places import lock\n"
    hold = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{code}held = lock(Path(sys.argv[1])); print(1, flush=True); input()",
            path,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert hold.stdout is not None
    hold.stdout.readline()
    assert lock(path) is None
    hold.kill()
    hold.communicate()
    again = lock(path)
    assert again is not None
    again.close()


def test_instances_claim_blocks_of_their_own() -> None:
    claims = [claim_ports("one"), claim_ports("other"), claim_ports("one")]
    firsts = [claim.first for claim in claims]
    assert len(set(firsts)) == 3
    claims[0].held.close()
    again = claim_ports("one")
    assert again.first == firsts[0], "an instance gets its block back"
    for claim in (*claims, again):
        claim.held.close()


def test_a_block_with_a_port_in_use_is_left_alone() -> None:
    claim = claim_ports("me")
    claim.held.close()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", claim.first + BLOCK_PORTS - 1))
        busy.listen()
        other = claim_ports("me")
    other.held.close()
    assert other.first != claim.first


def test_whether_a_port_is_free() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert not is_free(port)
        assert not is_free(port, "0.0.0.0")
    assert is_free(port)


def test_the_shared_folder_is_for_this_user_alone() -> None:
    folder = shared()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(InUse, match="not this user's own"):
        shared()


def test_a_link_in_the_shared_folder_s_place_is_refused(tmp_path: Path) -> None:
    folder = shared()
    folder.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    with pytest.raises(InUse):
        shared()


def test_a_secret_is_readable_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old and open to all")
    path.chmod(0o644)
    write_secret(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_instances_share_and_what_they_do_not(tmp_path: Path) -> None:
    one = Places(tmp_path, 8000, tmp_path / ".troupe")
    beside = Places(tmp_path, 8001, tmp_path / ".troupe")
    elsewhere = Places(tmp_path / "copy", 8000, tmp_path / "copy" / ".troupe")
    assert one.servers == beside.servers != elsewhere.servers
    assert len({one.scratch, beside.scratch, elsewhere.scratch}) == 3
    assert len({one.marker, beside.marker, elsewhere.marker}) == 3
    assert one.token != beside.token
