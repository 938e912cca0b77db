"""Files with secrets in them: for their owner alone, whole or not at all, and on the disk when they are said to be there."""

from __future__ import annotations

import os
import stat

import pytest

from penstock.wiring.private_files import write_text_private


def test_a_file_is_its_owners_alone_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "secret.key"
    for text in ("one", "two"):
        write_text_private(path, text)
        assert path.read_text() == text + "\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]


def test_what_somebody_has_laid_in_the_way_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("secret.part", "secret.key.part"):
        (tmp_path / name).symlink_to(victim)
    write_text_private(tmp_path / "secret.key", "text")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "secret.key").is_symlink()


def test_nothing_is_left_of_what_cannot_be_put_in_its_place(tmp_path):
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text_private(tmp_path / "secret.key", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]


def test_the_file_and_then_its_folder_are_on_the_disk(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, (tmp_path / "secret.key").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text_private(tmp_path / "secret.key", "text")
    assert synced == [(False, False), (True, True)]
