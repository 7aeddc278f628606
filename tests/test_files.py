"""A file or folder appears whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chitchat.files import atomic_folder, atomic_write


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as stream:
        stream.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "x" / "a.txt"
    for text in ("one\n", "two\n"):
        with atomic_write(path) as stream:
            stream.write(text)
    assert path.read_bytes() == b"two\n"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order; only a power cut would tell whether it was."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        done.append("rename")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    return done


def test_a_written_file_is_on_disk_before_it_has_its_name(tmp_path: Path, disk: list[str]) -> None:
    with atomic_write(tmp_path / "a.txt") as stream:
        stream.write("new")
    assert disk == ["file", "rename", "folder"]


def test_the_files_of_a_written_folder_are_on_disk_before_it_has_its_name(tmp_path: Path, disk: list[str]) -> None:
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "weights").touch()
        (temporary / "deep").mkdir()
        (temporary / "deep" / "vocab").touch()
    assert disk == ["file", "file", "rename", "folder"]


def test_a_secret_is_never_for_all_to_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with atomic_write(path, permissions=0o600) as stream:
        (temporary,) = tmp_path.iterdir()
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        stream.write("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failed_folder_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with atomic_folder(folder) as temporary:
        (temporary / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as temporary:
        (temporary / "weights").write_text("new")
        raise KeyboardInterrupt
    assert (folder / "weights").read_text() == "old"
    with atomic_folder(folder) as temporary:
        (temporary / "other").write_text("new")
    assert [p.name for p in folder.iterdir()] == ["other"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_another_program_put_there_meanwhile_stays_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    replace = os.replace

    def raced(source: Path, target: Path) -> None:
        replace(source, target)
        if source == path:
            path.mkdir()
            (path / "theirs").touch()

    monkeypatch.setattr(os, "replace", raced)
    with pytest.raises(OSError), atomic_folder(path) as temporary:
        (temporary / "ours").touch()
    assert [p.name for p in path.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == path and source.suffix == ".tmp":
            raise OSError("disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="disk"), atomic_folder(path) as temporary:
        (temporary / "ours").touch()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]
