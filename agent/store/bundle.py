"""The bundle: the one file that `pack` makes and the board receives. Bytes: docs/format.md.

A zip archive, stored and not compressed, of `manifest.json`, arrays as `.npy` and files for
runtimes. The same content always gives the same bytes. NumPy is needed for its arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import BundleError, StoreError
from agent.store import archive
from agent.store import manifest as manifests
from agent.store import signature as signatures
from agent.store.digest import sha256_hex
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import read_file, replace_file
from agent.store.manifest import MANIFEST_NAME, Manifest, Part
from agent.store.signature import Signature

if TYPE_CHECKING:
    from agent.store.npy import Array

MAX_BUNDLE_BYTES = 256 * 2**20
_AGAIN = "copy it again, or pack the model again"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest has been checked, and whose parts are checked whenever read."""

    name: str
    """What messages call it: the file's name."""
    id: str
    """SHA-256 of `manifest.json`, in hexadecimal digits; it names the content of every part."""
    document: Mapping[str, Any]
    parts: Mapping[str, Part]
    data: bytes = field(repr=False)
    """The whole file."""
    _entries: Mapping[str, memoryview] = field(repr=False)
    signature: Signature | None = None
    """As it stands there; `agent.store.trusted` says whether it is right."""

    def array(self, name: str) -> Array:
        """A new array from part `<name>.npy`.

        Raises:
            BundleError: there is no such array, or it is damaged.
        """
        from agent.store import npy  # noqa: PLC0415 - status and install start without NumPy

        part = self._part(f"{name}.npy", "array", name)
        if part.dtype is None or part.shape is None:
            raise BundleError(
                f"{self.name}: part {name}.npy is not described as an array; {_AGAIN}"
            )
        try:
            return npy.decode(self._verified(f"{name}.npy"), part.dtype, part.shape)
        except (ValueError, SyntaxError, TypeError, MemoryError) as error:
            raise BundleError(f"{self.name}: array {name} is damaged: {error}; {_AGAIN}") from error

    def file(self, name: str) -> bytes:
        """The bytes of a file for a runtime.

        Raises:
            BundleError: there is no such file, or it is damaged.
        """
        self._part(name, "file", name)
        return bytes(self._verified(name))

    def _part(self, part: str, kind: str, name: str) -> Part:
        if part in self.parts:
            return self.parts[part]
        raise BundleError(
            f"{self.name} has no {kind} {name!r}; it was packed by another version: {_AGAIN}"
        )

    def _verified(self, part: str) -> memoryview:
        data = self._entries[part]
        if sha256_hex(data) != self.parts[part].sha256:
            raise BundleError(
                f"{self.name} is damaged: part {part} does not have the SHA-256 that the manifest "
                f"gives; {_AGAIN}"
            )
        return data


def bundle_bytes(
    document: Mapping[str, Any], arrays: Mapping[str, Array], files: Mapping[str, bytes]
) -> bytes:
    """The bytes of a bundle.

    Args:
        document: anything that JSON can hold, finite numbers only.
        arrays: by name, without `.npy`; booleans, integers and floats of 16 to 64 bits.
        files: for runtimes, by name.

    Raises:
        BundleError: a name, type or value is not allowed.
    """
    contents, parts = _encoded_parts(arrays, files)
    try:
        manifest = manifests.encode(Manifest(document, parts))
        manifests.decode(manifest)
    except (ValueError, TypeError) as error:
        raise BundleError(f"this cannot be put into a bundle: {error}") from error
    data = archive.encode([(MANIFEST_NAME, manifest), *sorted(contents.items())])
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"the bundle would have {len(data)} bytes, at most {MAX_BUNDLE_BYTES} are allowed; "
            "pack with a smaller --budget-kib or a smaller model"
        )
    return data


def write_bundle(
    path: Path,
    document: Mapping[str, Any],
    arrays: Mapping[str, Array],
    files: Mapping[str, bytes],
    disk: Disk = SYSTEM_DISK,
) -> int:
    """Write a bundle, durably and at once; arguments as for `bundle_bytes`.

    Returns:
        Bytes written.

    Raises:
        BundleError: a name, type or value is not allowed.
        StoreError: the file cannot be written; one that was there is as it was.
    """
    return replace_file(path, bundle_bytes(document, arrays, files), disk)


def signed_bytes(data: bytes, key: Path, version: int) -> bytes:
    """A bundle with a signature beside its content, which stays as it is.

    Args:
        data: the bundle's bytes.
        key: a private key, see `agent.store.signature.sign`.
        version: what a store that knows the key compares.

    Raises:
        BundleError: this is no bundle.
        InputError: there is no such key in the file.
        RuntimeUnavailableError: the package for signatures is not installed.
    """
    bundle = open_bundle(data)
    signature = signatures.sign(bundle.id, version, key)
    entries = archive.decode(data)
    entries.pop(signatures.ENTRY, None)
    contents = [(name, bytes(entry)) for name, entry in entries.items()]
    return archive.encode([*contents, (signatures.ENTRY, signature.encode())])


def open_bundle(source: Path | bytes, *, verify: bool = True, name: str = "") -> Bundle:
    """Read a bundle; no size in it is trusted before it is checked.

    Args:
        source: the file, or its bytes.
        verify: check the SHA-256 of every part now, and not only of those that are read later.
        name: what messages call it, for bytes.

    Raises:
        BundleError: it is missing, damaged, foreign, or of another format.
    """
    name = name or (source.name if isinstance(source, Path) else "the bundle")
    data = source if isinstance(source, bytes) else _read(source)
    try:
        entries = archive.decode(data)
        signed = entries.pop(signatures.ENTRY, None)
        signature = None if signed is None else signatures.decode(bytes(signed))
        listed = manifests.decode(bytes(entries[MANIFEST_NAME]))
        _check_entries(entries, listed)
    except archive.ERRORS as error:
        raise BundleError(_sentence(name, data, error)) from error
    identity = sha256_hex(entries[MANIFEST_NAME])
    bundle = Bundle(name, identity, listed.document, listed.parts, data, entries, signature)
    if verify:
        for part in bundle.parts:
            bundle._verified(part)  # noqa: SLF001 - same module
    return bundle


def _encoded_parts(
    arrays: Mapping[str, Array], files: Mapping[str, bytes]
) -> tuple[dict[str, bytes], dict[str, Part]]:
    from agent.store import npy  # noqa: PLC0415 - reading a manifest needs no NumPy

    contents, parts = {}, {}
    for name, array in arrays.items():
        try:
            data = npy.encode(array)
        except ValueError as error:
            raise BundleError(f"array {name!r} cannot be put into a bundle: {error}") from error
        dtype = array.dtype.newbyteorder("<").str
        contents[f"{name}.npy"] = data
        parts[f"{name}.npy"] = Part(sha256_hex(data), len(data), dtype, tuple(array.shape))
    for name, data in files.items():
        if name in contents:
            raise BundleError(f"{name!r} is given both as an array and as a file; rename one")
        contents[name] = data
        parts[name] = Part(sha256_hex(data), len(data))
    return contents, parts


def _read(path: Path) -> bytes:
    try:
        data = read_file(path, MAX_BUNDLE_BYTES)
    except StoreError as error:
        raise BundleError(str(error)) from error
    if data is None:
        raise BundleError(f"there is no bundle {path}; check the path")
    return data


def _check_entries(entries: Mapping[str, memoryview], manifest: Manifest) -> None:
    different = (entries.keys() - {MANIFEST_NAME}) ^ manifest.parts.keys()
    if different:
        name = min(different)
        where = "manifest" if name in manifest.parts else "archive"
        raise ValueError(f"part {name[:200]!r} is only in the {where}")
    for name, part in manifest.parts.items():
        if len(entries[name]) != part.bytes:
            raise ValueError(
                f"part {name} has {len(entries[name])} bytes, the manifest says {part.bytes}"
            )


def _sentence(name: str, data: bytes, error: Exception) -> str:
    if not data:
        return f"{name} is empty; {_AGAIN}"
    if not data.startswith(archive.BEGIN):
        return f"{name} is no bundle; 'npp-agent pack' makes one from an .onnx or .tflite model"
    if archive.is_cut(data):
        return f"{name} is truncated (only its first {len(data)} bytes are there): {_AGAIN}"
    return f"{name} is damaged or no bundle: {str(error).strip(chr(39))}; {_AGAIN}"
