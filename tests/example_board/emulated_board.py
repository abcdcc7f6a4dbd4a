"""Stands for the board: a process that holds weights badly and multiplies with them.

Prints its port, then serves one connection after another until it is ended.
"""

from __future__ import annotations

import json
import socketserver
import sys
from typing import Any

import numpy as np

MISMATCH, READ_NOISE = 0.3, 0.002


class Board:
    """Cells that are each off by their own factor, and noise that is new each time."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(20)
        self.layers: dict[str, Any] = {}
        self.digests: dict[str, str] = {}
        self.writes = 0

    def write(self, layer: str, weights: Any, digest: str) -> None:
        off = self.generator.standard_normal(weights.shape)
        self.layers[layer] = weights * (1 + MISMATCH * off)
        self.digests[layer] = digest
        self.writes += 1

    def multiply(self, layer: str, codes: Any, zero_point: int) -> bytes:
        inputs = codes.astype(np.float64) - zero_point
        sums = np.einsum("ngd,gdm->ngm", inputs, self.layers[layer])
        noise = READ_NOISE * np.abs(sums).mean() * self.generator.standard_normal(sums.shape)
        return (sums + noise).astype(np.float32).tobytes()


BOARD = Board()


class Handler(socketserver.StreamRequestHandler):
    """Answers the requests of one connection."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            request = json.loads(line)
            answer, content = self.answer(request, self.rfile.read(request["bytes"]))
            self.wfile.write(json.dumps({**answer, "bytes": len(content)}).encode() + b"\n")
            self.wfile.write(content)

    def answer(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        match request["do"]:
            case "holds":
                return {"digest": BOARD.digests.get(request["layer"])}, b""
            case "writes":
                return {"writes": BOARD.writes}, b""
            case "write":
                weights = np.frombuffer(content, np.float32).reshape(request["shape"])
                BOARD.write(request["layer"], weights, request["digest"])
                return {}, b""
            case "forget":
                BOARD.layers.clear()
                return {}, b""
        if request["layer"] not in BOARD.layers:
            return {"error": "it lost its supply and holds nothing"}, b""
        codes = np.frombuffer(content, np.uint8).reshape(request["shape"])
        return {}, BOARD.multiply(request["layer"], codes, request["zero_point"])


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection, because each layer has its own; all end with the process."""

    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
