"""A real node of a chain on this machine, started, killed and started again; for tests and benches."""

import gzip
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from einthoven.errors import ChainUnavailable
from einthoven.runtime.json_rpc import Chain

__all__ = ["ChainNode", "anvil_here"]

_LISTENING: Final = "Listening on "
_ETHER: Final = 10**18


def anvil_here(checkout: Path) -> Path | None:
    """The program: where ``npm ci`` in ``contracts`` put it, or where the machine has it."""
    system = {"darwin": "darwin", "win32": "win32"}.get(sys.platform, "linux")
    found = sorted(
        (checkout / "contracts" / "node_modules" / "@foundry-rs").glob(f"anvil-{system}-*/bin/anvil*")
    )
    elsewhere = shutil.which("anvil")
    return found[0] if found else Path(elsewhere) if elsewhere else None


class ChainNode:
    """Anvil with a chain of its own, which lasts from one start to the next if ``folder`` is given."""

    def __init__(self, program: Path, folder: Path | None = None, words: Sequence[str] = ()) -> None:
        self._program = program
        self._folder = folder
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._drain = threading.Thread()
        self.start(words)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self, words: Sequence[str] = ()) -> None:
        """Start it, where it was before; returns when it answers."""
        kept = self._folder / "state.json" if self._folder else None
        state = ["--load-state", str(kept)] if kept and kept.exists() else []
        command = [str(self._program), "--port", str(self._port), "--accounts", "1", *state, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - ours
        self._process = process
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        for line in process.stdout:
            if line.startswith(_LISTENING):
                self._port = int(line.rsplit(":", 1)[1])
                self._drain = threading.Thread(target=_drained, args=(process.stdout,), daemon=True)
                self._drain.start()
                return
        raise ChainUnavailable("the node did not start.", where="chain")

    def save(self) -> None:
        """Keep the chain as it is; what waits for a block is not of it."""
        if self._folder is not None:
            state = self.asked("anvil_dumpState")
            content = gzip.decompress(bytes.fromhex(state.removeprefix("0x")))
            (self._folder / "state.json").write_bytes(content)

    def kill(self) -> None:
        """As a cut of the power does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._drain.join()
            self._process = None

    def fund(self, account: str, ether: int = 10) -> None:
        """Give an account money."""
        self.asked("anvil_setBalance", account, hex(ether * _ETHER))

    def asked(self, method: str, *params: Any) -> Any:
        """One question by JSON-RPC, the node's own too."""
        return Chain(self.url).asked(method, *params)


def _drained(stream: IO[str]) -> None:
    """A node whose lines nobody reads would stop."""
    with stream:
        for _ in stream:
            pass
