import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handrail.protection.auth import TokenFileExposed, operator_token


class TestOperatorToken:
    def test_is_made_once_in_a_file_that_only_its_owner_reads(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "data"

        token = operator_token(folder)

        assert operator_token(folder) == token
        assert stat.S_IMODE((folder / "operator.token").stat().st_mode) == 0o600
        assert os.listdir(folder) == ["operator.token"]

    def test_differs_from_folder_to_folder(self, tmp_path: Path) -> None:
        assert operator_token(tmp_path / "a") != operator_token(tmp_path / "b")

    def test_is_one_for_all_who_start_together(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            tokens = set(pool.map(lambda _: operator_token(tmp_path / "data"), range(32)))

        assert len(tokens) == 1

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_that_others_can_read_is_not_used(self, tmp_path: Path, mode: int) -> None:
        operator_token(tmp_path)
        (tmp_path / "operator.token").chmod(mode)

        with pytest.raises(TokenFileExposed, match=r"operator\.token.*delete it"):
            operator_token(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"hrop_123", b"\xff\xfe", b"hr_abcdefgh_" + b"0" * 64])
    def test_that_is_no_token_is_not_used(self, tmp_path: Path, content: bytes) -> None:
        operator_token(tmp_path)
        (tmp_path / "operator.token").write_bytes(content)

        with pytest.raises(TokenFileExposed, match="does not hold a token"):
            operator_token(tmp_path)
