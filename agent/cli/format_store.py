"""`npp-agent format-store`: a store in one file, on a partition or for a NOR flash."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import FILE, emit, json_option
from agent.cli.table import pairs
from agent.cli.units import bytes_text
from agent.store.image_format import make_image, sizes_of
from agent.store.image_plan import KIB, Wishes
from agent.store.superblock import Memory


@click.command()
@click.argument("image", type=FILE)
@click.option(
    "--size-kib",
    type=click.IntRange(64, 2**30),
    help="Size of a new image, or how much of one that is there to use. Default: all of it.",
)
@click.option("--nor", is_flag=True, help="For a NOR flash: blocks are erased, and wear evenly.")
@click.option(
    "--block-kib",
    type=click.IntRange(4, 1024),
    default=4,
    show_default=True,
    help="What the NOR flash erases at once.",
)
@click.option(
    "--slots",
    type=click.IntRange(2, 64),
    help="Slots for factors. Default: 2, and 4 with --nor.",
)
@click.option("--factors-kib", type=click.IntRange(min=1), help="Room for factors in each slot.")
@click.option("--bundle-kib", type=click.IntRange(min=1), help="Room for each of two bundles.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@json_option
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    image: Path,
    size_kib: int | None,
    nor: bool,  # noqa: FBT001  # click passes flags by name
    block_kib: int,
    slots: int | None,
    factors_kib: int | None,
    bundle_kib: int | None,
    force: bool,  # noqa: FBT001  # click passes flags by name
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Make an image file for a store, or format a partition or a whole device.

    A store in a directory needs no formatting. All commands take the image as their --store.
    """
    wishes = Wishes(
        Memory.NOR if nor else Memory.REWRITABLE,
        slots,
        None if factors_kib is None else factors_kib * KIB,
        None if bundle_kib is None else bundle_kib * KIB,
    )
    size = None if size_kib is None else size_kib * KIB
    if size is None and not image.exists():
        raise click.UsageError(f"there is no {image}: say with --size-kib how large to make it")
    made = make_image(image, size, wishes, block_bytes=block_kib * KIB, force=force)
    found, sizes = made.image.superblock, sizes_of(made.image.superblock)
    document = {
        "image": str(image),
        "memory": found.memory.name.lower(),
        "bytes": found.size_bytes,
        "block_bytes": found.block_bytes,
        "regions": [
            {"name": name, "count": count, "bytes": size} for name, (count, size) in sizes.items()
        ],
        "bad_blocks": sorted(made.bad_blocks),
    }
    lines = [(name, f"{count} of {bytes_text(size)}") for name, (count, size) in sizes.items()]
    emit(
        document,
        as_json=as_json,
        table=pairs([("image", str(image)), ("size", bytes_text(found.size_bytes)), *lines]),
    )
