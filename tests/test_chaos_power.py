"""Row 3 of `make chaos` in short: the power is cut at many moments; and carelessness would be seen."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.power.disk import Disk, Left, all_left, nothing_left, some_left
from chaos.power.recorder import NoCompiler, journal, recording
from chaos.rows import power
from tests.conftest import needs_uwsgi
from tests.test_chaos import SEED, a_run


def recorder_for(folder: Path, root: Path) -> dict[str, str]:
    try:
        return recording(folder, root)
    except NoCompiler:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("there is no C compiler")


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """From an instance's first start on: the ledger, the large bodies, and every name on the way to them."""
    needs_uwsgi()
    recorder_for(tmp_path, tmp_path)
    found = power.cut(a_run("3", tmp_path, 1.5), cuts=12, starts=0)
    assert found["breaches"] == [], f"seed {SEED}"
    assert found["disks looked at"] >= 30


ACCEPTING = """
import os
import sys
from pathlib import Path
from tests.operations import accept
from webspool.ledger.apply import apply
from webspool.ledger.database import Database
if sys.argv[1] == "careless":
    Database.flush = lambda self: None
database = Database(Path("var/ledger.db"))
for _ in range(20):
    operation = accept()
    with database.transaction(flush=True) as tx:
        apply(tx, operation)
    print(operation.id, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("care", ["careful", "careless"])
def test_without_flushing_a_power_cut_would_be_noticed(care: str, tmp_path: Path) -> None:
    """Without it what was said to be stored is gone; as it is, all of it is there."""
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    disk = Disk(root)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environ = os.environ | recorder_for(tmp_path, root) | {"PYTHONPATH": path}
    told = subprocess.run(
        [sys.executable, "-c", ACCEPTING, care], cwd=root, env=environ, stdout=subprocess.PIPE, check=True, timeout=60
    )
    acked = [{"delivery": name, "jobs": []} for name in told.stdout.decode().split()]
    disk.play(journal(tmp_path / "journal"))
    disk.write_out(tmp_path / "left", nothing_left())
    faults = power.faults_of(tmp_path / "left", acked)
    assert bool(faults) == (care == "careless"), faults


WRITING = """
import os
with open("kept", "w") as file:
    file.write("a" * 600)
    file.flush()
    os.fsync(file.fileno())
    file.write("b" * 600)
os.mkdir("folder")
with open("folder/inside", "w") as file:
    file.write("flushed, in a folder whose name is not")
    file.flush()
    os.fsync(file.fileno())
folder = os.open(".", os.O_RDONLY)
os.rename("old", "new")
if FLUSHED:
    os.fsync(folder)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("flushed", "left", "names"),
    [
        (False, nothing_left(), {"old"}),
        (True, nothing_left(), {"kept", "new", "folder"}),
        (False, all_left(), {"kept", "new", "folder"}),
    ],
)
def test_a_name_is_on_disk_once_its_folder_was_flushed(
    flushed: bool, left: Left, names: set[str], tmp_path: Path
) -> None:
    """What the disk of these tests keeps of a cache, as fsync(2) has it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").write_text("known")
    disk = Disk(root)
    environ = os.environ | recorder_for(tmp_path, root)
    program = WRITING.replace("FLUSHED", str(flushed))
    subprocess.run([sys.executable, "-c", program], cwd=root, env=environ, check=True, timeout=60)
    disk.play(journal(tmp_path / "journal"))
    disk.write_out(tmp_path / "left", left)
    assert {path.name for path in (tmp_path / "left").iterdir()} == names
    if "kept" in names:
        assert (tmp_path / "left" / "kept").read_text() == "a" * 600 + ("b" * 600 if left.name == "all" else "")
    if "folder" in names:  # its own name is there, but what it holds was never flushed
        assert [path.name for path in (tmp_path / "left" / "folder").iterdir()] == ["inside"] * (left.name == "all")


def test_what_is_left_by_chance_are_whole_sectors(tmp_path: Path) -> None:
    """Some of them, in files; the first changes of a folder, in names."""
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root)
    environ = os.environ | recorder_for(tmp_path, root)
    program = "import os; open('many', 'w').write('x' * 51200); os._exit(0)"
    subprocess.run([sys.executable, "-c", program], cwd=root, env=environ, check=True, timeout=60)
    disk.play(journal(tmp_path / "journal"))
    seen = set()
    for seed in range(20):
        disk.write_out(tmp_path / str(seed), some_left(random.Random(seed)))
        many = tmp_path / str(seed) / "many"
        seen.add(many.read_bytes().count(b"x") if many.exists() else None)
    assert None in seen
    assert len(seen) > 5
    assert all(count % 512 == 0 for count in seen if count is not None)
