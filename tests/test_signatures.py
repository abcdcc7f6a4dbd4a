"""Signed bundles, and stores that take no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BundleError, InputError, StoreError
from agent.store import signature as signatures
from agent.store.bundle import open_bundle, signed_bytes
from agent.store.state import State, Trust
from agent.store.store import Store
from calib.importers.onnx_export import write_onnx
from tests.agent_stores import GRAPH, ROOT, data, npp
from tests.store_places import PLACES, make_place
from tests.store_samples import CHIP, FIRST, SECOND

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
Capture = pytest.CaptureFixture[str]

# RFC 8032, section 7.1, test 2: secret key, public key, and the signature of the one byte 72.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")


def write_keys(folder: Path, name: str, secret: bytes | None = None) -> tuple[Path, Path]:
    private = (
        ed25519.Ed25519PrivateKey.generate()
        if secret is None
        else ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    )
    secret_path, public_path = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    pem = serialization.Encoding.PEM
    secret_path.write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public_path.write_bytes(
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return secret_path, public_path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_keys(tmp_path_factory.mktemp("keys"), "ours", SECRET)


def test_a_signature_has_these_bytes(keys: tuple[Path, Path]) -> None:
    signature = signatures.sign(FIRST.id, 7, keys[0])
    data = signature.encode()
    assert data[:16].hex() == "4e50504b01000000" + "0700000000000000"
    assert data[16:48] == PUBLIC == signatures.public_key_in(keys[1])
    message = b"npp-agent bundle\0" + (7).to_bytes(8, "little") + bytes.fromhex(FIRST.id)
    ed25519.Ed25519PublicKey.from_public_bytes(PUBLIC).verify(data[48:], message)
    assert signatures.decode(data) == signature


def test_signing_changes_neither_id_nor_content(keys: tuple[Path, Path]) -> None:
    bundle = open_bundle(signed_bytes(FIRST.data, keys[0], 3))
    assert (bundle.id, bundle.document, bundle.parts) == (FIRST.id, FIRST.document, FIRST.parts)
    assert bundle.signature is not None
    assert bundle.signature.version == 3
    again = open_bundle(signed_bytes(bundle.data, keys[0], 4))
    assert again.signature is not None
    assert again.signature.version == 4


@given(st.integers(0, signatures.BYTES * 8 - 1))
def test_any_flipped_bit_of_a_signature_is_refused(keys: tuple[Path, Path], bit: int) -> None:
    data = bytearray(signatures.sign(FIRST.id, 7, keys[0]).encode())
    data[bit // 8] ^= 1 << bit % 8
    if bit // 8 in (6, 7):  # reserved
        return
    try:
        found = signatures.decode(bytes(data))
    except ValueError:
        return
    with pytest.raises(BundleError, match="does not belong to this content"):
        signatures.check(found, FIRST.id, "first.npp")


@pytest.mark.parametrize("place", PLACES)
def test_a_store_with_a_key_takes_no_others(
    tmp_path: Path, keys: tuple[Path, Path], place: str
) -> None:
    store = Store(make_place(place, tmp_path / "store"))
    store.backing.make()
    other, other_public = write_keys(tmp_path, "other")
    signed = open_bundle(signed_bytes(FIRST.data, keys[0], 5), name="first.npp")
    with pytest.raises(BundleError, match="is not signed"):
        store.install(FIRST, CHIP, public_key=PUBLIC)
    store.install(signed, CHIP, public_key=PUBLIC)
    assert store.state().trust == Trust(PUBLIC.hex(), 5)
    store.commit_factors(b"factors")
    foreign = open_bundle(signed_bytes(SECOND.data, other, 9), name="second.npp")
    older = open_bundle(signed_bytes(SECOND.data, keys[0], 4), name="second.npp")
    transplanted = replace_signature(SECOND.data, signed.data)
    for bundle, sentence in (
        (SECOND, "is not signed, and this store takes only what key 3d4017c3e843 has signed"),
        (foreign, "is signed with key [0-9a-f]{12}, and this store takes only"),
        (older, "has version 4, and version 5 was installed here already"),
        (transplanted, "the signature does not belong to this content"),
    ):
        with pytest.raises(BundleError, match=sentence):
            store.install(bundle, CHIP)
    with pytest.raises(StoreError, match="knows key 3d4017c3e843 and does not take"):
        store.install(foreign, CHIP, public_key=signatures.public_key_in(other_public))
    factors = store.load_factors()
    assert factors is not None, "nothing that was refused has changed anything"
    store.install(open_bundle(signed_bytes(SECOND.data, keys[0], 6)), CHIP)
    store.remember({"age_s": 5.0})
    assert store.state().trust == Trust(PUBLIC.hex(), 6)
    assert store.bundle().id == SECOND.id


def replace_signature(data: bytes, of: bytes) -> object:
    from agent.store import archive  # noqa: PLC0415 - used here alone

    entries = {name: bytes(entry) for name, entry in archive.decode(data).items()}
    entries[signatures.ENTRY] = bytes(archive.decode(of)[signatures.ENTRY])
    return open_bundle(archive.encode(entries.items()))


def test_a_float_bundle_quantised_here_counts_as_its_origin(
    tmp_path: Path, keys: tuple[Path, Path], capsys: Capture
) -> None:
    write_onnx(GRAPH, tmp_path / "model.onnx")
    packed = ("pack", tmp_path / "model.onnx", "--samples", data(tmp_path / "data.npz"))
    signing = ("--sign", keys[0], "--version-number", 2)
    out = ("--scheme", "float", "--out", tmp_path / "float.npp")
    assert npp(capsys, *packed, *out, *signing).code == 0
    install = ("install", tmp_path / "float.npp", "--scheme", "int8", "--store", tmp_path / "store")
    said = npp(capsys, *install, "--trust", keys[1], "--json").document
    assert said["trust"] == {"public_key": PUBLIC.hex(), "version": 2}
    assert "trusts" in npp(capsys, "status", "--store", tmp_path / "store").out
    assert npp(capsys, *packed, *out).code == 0
    assert "is not signed" in npp(capsys, *install).sentence()
    assert npp(capsys, "fsck", "--store", tmp_path / "store").code == 0


def test_a_rebuilt_state_still_knows_the_key(
    tmp_path: Path, keys: tuple[Path, Path], capsys: Capture
) -> None:
    write_onnx(GRAPH, tmp_path / "model.onnx")
    packed = ("pack", tmp_path / "model.onnx", "--samples", data(tmp_path / "data.npz"))
    out = ("--out", tmp_path / "signed.npp", "--sign", keys[0], "--version-number", 2)
    assert npp(capsys, *packed, *out).code == 0
    where = ("--store", tmp_path / "store")
    assert npp(capsys, "install", tmp_path / "signed.npp", "--trust", keys[1], *where).code == 0
    path = tmp_path / "store" / "state.json"
    path.write_bytes(path.read_bytes().replace(b"bundle_id", b"bundle-id"))
    assert npp(capsys, "fsck", "--repair", *where).code == 0
    assert Store(tmp_path / "store").state().trust == Trust(PUBLIC.hex(), 2)


@pytest.mark.parametrize("content", [b"", b"no key", SECRET])
def test_what_is_no_key_is_one_sentence(tmp_path: Path, content: bytes, capsys: Capture) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(InputError, match=r"holds no private Ed25519 key .*openssl genpkey"):
        signatures.sign(FIRST.id, 1, tmp_path / "key.pem")
    with pytest.raises(InputError, match="holds no public Ed25519 key"):
        signatures.public_key_in(tmp_path / "key.pem")
    write_onnx(GRAPH, tmp_path / "model.onnx")
    said = npp(
        capsys,
        "pack",
        tmp_path / "model.onnx",
        "--samples",
        data(tmp_path / "data.npz"),
        "--out",
        tmp_path / "out.npp",
        "--sign",
        tmp_path / "absent.pem",
    )
    assert "there is no key" in said.sentence()
    assert not (tmp_path / "out.npp").exists()


def test_a_board_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['cryptography'] = None\n"
        "from pathlib import Path\n"
        "from agent.errors import RuntimeUnavailableError\n"
        "from agent.store import signature\n"
        "try:\n"
        "    signature.public_key_in(Path('key.pem'))\n"
        "except RuntimeUnavailableError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ("signatures need the package cryptography: install npp-agent[signing]\n")
    store = Store(tmp_path)
    store.install(FIRST, CHIP)
    assert isinstance(store.state(), State), "and without a key nothing is missed"
