"""Unmodified smpclient and smpmgr talk to the board over a real pty."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from smp.header import GroupId
from smpclient import SMPClient
from smpclient.exceptions import SMPUploadError
from smpclient.generics import error_v1, error_v2, success
from smpclient.requests import enumeration_management as enumeration
from smpclient.requests import file_management as files
from smpclient.requests import os_management as system
from smpclient.requests import settings_management as settings
from smpclient.requests import statistics_management as statistics
from smpclient.transport.serial import SMPSerialTransport

from tests.link_fakes import FakeBoard
from tests.links import serving

SMPMGR = Path(sys.executable).with_name("smpmgr")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def port(board: FakeBoard, tmp_path: Path) -> Iterator[str]:
    with serving(board, tmp_path) as service:
        yield service.addresses[0]


def with_client(port: str, talk: Any) -> Any:
    async def whole() -> Any:
        async with SMPClient(SMPSerialTransport(), port) as client:
            return await talk(client)

    work: Coroutine[Any, Any, Any] = whole()
    return asyncio.run(work)


def asked(port: str, request: Any) -> Any:
    return with_client(port, lambda client: client.request(request))


def test_the_os_group(port: str, board: FakeBoard) -> None:
    assert asked(port, system.EchoWrite(d="hello, böard")).r == "hello, böard"
    parameters = asked(port, system.MCUMgrParametersRead())
    assert (parameters.buf_size, parameters.buf_count) == (2048, 1)
    assert asked(port, system.DateTimeRead()).datetime.startswith("20")
    assert "npp-agent" in asked(port, system.OSApplicationInfoRead(format="a")).output
    refused = asked(port, system.OSApplicationInfoRead(format="?"))
    assert error_v2(refused)
    assert error_v1(asked(port, system.DateTimeWrite(datetime="2026-01-01T00:00:00")))
    assert error_v1(asked(port, system.TaskStatisticsRead()))
    assert success(asked(port, system.ResetWrite()))
    assert board.resets == 1


def test_the_statistics_group(port: str, board: FakeBoard) -> None:
    assert asked(port, statistics.ListOfGroups()).stat_list == ("npp", "first")
    for name, fields in board.statistics().items():
        assert asked(port, statistics.GroupData(name=name)).fields == fields
    assert error_v2(asked(port, statistics.GroupData(name="nobody")))


def test_the_settings_group(port: str, board: FakeBoard) -> None:
    assert asked(port, settings.ReadSetting(name="npp/version")).val == b"9.9"
    assert success(asked(port, settings.WriteSetting(name="chip/age_s", val=b"3600")))
    assert board.values["chip/age_s"] == "3600"
    assert error_v2(asked(port, settings.WriteSetting(name="npp/version", val=b"1")))
    assert error_v2(asked(port, settings.ReadSetting(name="nothing")))
    assert error_v2(asked(port, settings.DeleteSetting(name="chip/age_s")))
    for request in (settings.CommitSettings(), settings.LoadSettings(), settings.SaveSettings()):
        assert success(asked(port, request))


def test_the_enumeration_group(port: str) -> None:
    known = (*(GroupId(group) for group in (0, 2, 3, 8, 10)), 78)
    assert asked(port, enumeration.CountSupportedGroups()).count == len(known)
    assert asked(port, enumeration.ListSupportedGroups()).groups == known
    last = asked(port, enumeration.GroupId(index=5))
    assert (last.group, last.end) == (78, True)
    assert error_v2(asked(port, enumeration.GroupId(index=6)))
    details = asked(port, enumeration.GroupDetails(groups=(78,))).groups
    assert [(one.group, one.name) for one in details] == [(78, "npp-agent")]


def test_files_go_up_and_come_down(port: str, board: FakeBoard, tmp_path: Path) -> None:
    data = os.urandom(40_000)

    async def talk(client: SMPClient) -> bytes:
        offsets = [offset async for offset in client.upload_file(data, "new.npp")]
        assert offsets == sorted(offsets)
        assert offsets[-1] == len(data)
        assert (await client.request(files.FileStatus(name="new.npp"))).len == len(data)
        digest = await client.request(files.FileHashChecksum(name="upload/new.npp"))
        assert digest.output == hashlib.sha256(data).digest()
        crc = await client.request(files.FileHashChecksum(name="new.npp", type="crc32"))
        assert crc.output == zlib.crc32(data)
        types = (await client.request(files.SupportedFileHashChecksumTypes())).types
        assert set(types) == {"crc32", "sha256"}
        assert success(await client.request(files.FileClose()))
        assert await client.download_file("upload/new.npp") == data
        with pytest.raises(SMPUploadError):
            [offset async for offset in client.upload_file(data, "../../etc/passwd")]
        return await client.download_file("bundle.npp")

    assert with_client(port, talk) == board.files["bundle.npp"]
    assert (tmp_path / "upload" / "new.npp").read_bytes() == data


def test_an_upload_that_was_begun_goes_on(port: str, tmp_path: Path) -> None:
    data = os.urandom(10_000)

    async def begin(client: SMPClient) -> None:
        async for offset in client.upload_file(data, "new.npp"):
            if offset > 4000:
                return

    async def go_on(client: SMPClient) -> int:
        size = (await client.request(files.FileStatus(name="new.npp"))).len
        request = files.FileUpload(name="new.npp", off=size, data=data[size : size + 100])
        return int((await client.request(request)).off)

    with_client(port, begin)
    assert with_client(port, go_on) > 4100
    assert data.startswith((tmp_path / "upload" / "new.npp").read_bytes())


def smpmgr(port: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SMPMGR, "--port", port, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        timeout=60,
    )


@pytest.mark.slow
def test_the_smpmgr_command_line(port: str, board: FakeBoard, tmp_path: Path) -> None:
    (tmp_path / "some.npp").write_bytes(os.urandom(5000))
    wanted = {
        ("os", "echo", "hello"): "r='hello'",
        ("statistics", "list"): "npp",
        ("statistics", "get", "npp"): "125000",
        ("statistics", "fetch-all"): "first",
        ("enum", "get-supported-groups"): "78",
        ("enum", "get-group-details", 78): "npp-agent",
        ("file", "get-supported-hash-types"): "sha256",
        ("file", "get-hash", "bundle.npp"): "sha256",
        ("file", "read-size", "bundle.npp"): str(len(board.files["bundle.npp"])),
        ("file", "upload", tmp_path / "some.npp", "some.npp"): "100.0%",
        ("file", "download", "bundle.npp", tmp_path / "back.npp"): "Saved",
        ("os", "reset"): "ResetWriteResponse",
    }
    for arguments, text in wanted.items():
        done = smpmgr(port, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert text in done.stdout, (arguments, done.stdout)
    uploaded = (tmp_path / "upload" / "some.npp").read_bytes()
    assert uploaded == (tmp_path / "some.npp").read_bytes()
    assert (tmp_path / "back.npp").read_bytes() == board.files["bundle.npp"]
    assert board.resets == 1


def test_the_golden_answers_are_what_the_smp_package_reads() -> None:
    answers = json.loads(Path(__file__).with_name("link_answers.json").read_text("ascii"))
    kinds = {
        "echo": system.EchoWrite,
        "parameters": system.MCUMgrParametersRead,
        "reset": system.ResetWrite,
        "statistics": statistics.ListOfGroups,
        "statistics of npp": statistics.GroupData,
        "a setting": settings.ReadSetting,
        "write a setting": settings.WriteSetting,
        "upload": files.FileUpload,
        "download": files.FileDownload,
        "size": files.FileStatus,
        "hash": files.FileHashChecksum,
        "hash of a part": files.FileHashChecksum,
        "hashes": files.SupportedFileHashChecksumTypes,
        "groups": enumeration.ListSupportedGroups,
        "the last group": enumeration.GroupId,
        "details": enumeration.GroupDetails,
    }
    for name, kind in kinds.items():
        assert success(kind._Response.default.loads(bytes.fromhex(answers[name]["answer"]))), name
    refused = {"statistics of nobody": statistics.GroupData, "upload elsewhere": files.FileUpload}
    for name, kind in refused.items():
        assert error_v2(kind._ErrorV2.loads(bytes.fromhex(answers[name]["answer"]))), name


def plugin_messages() -> Any:
    """The plugin's messages, as smpmgr imports them."""
    path = ROOT / "docs" / "smpmgr" / "npp_messages.py"
    spec = importlib.util.spec_from_file_location("npp_messages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["npp_messages"] = module  # pydantic looks names up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_smpmgr_plugin(port: str, board: FakeBoard) -> None:
    plugin = f"--plugin-path={ROOT / 'docs' / 'smpmgr'}"

    def npp(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SMPMGR, plugin, "--port", port, "npp", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
            timeout=60,
        )

    for command, text in {
        "status": "'model': 'small'",
        "layers": "layer_3",
        "history": "'after': 0.5",
        "measure": "'state': 'done'",
        "calibrate": "'notes': ['recoverable: a lot']",
        "rollback": "'exit_code': 0",
    }.items():
        done = npp(command)
        assert done.returncode == 0, (command, done.stderr)
        assert text in done.stdout, (command, done.stdout)
    assert len(board.calls) == 3
    board.gate.clear()
    npp_messages = plugin_messages()
    with_client(port, lambda client: client.request(npp_messages.Calibrate(samples=1)))
    busy = npp("measure")
    board.gate.set()
    assert busy.returncode == 1
    assert "calibrate runs" in busy.stderr
