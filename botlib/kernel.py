"""One notebook through papermill, strictly: this Python, a clean environment, atomic saves, nothing on the screen."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import os
import signal
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from botlib import hygiene, stop_file
from botlib.notebook_params import literal
from botlib.printed import MaskedStream, short
from botlib.progress import ProgressLine, where
from botlib.project import ROOT_VARIABLE
from botlib.provenance import write_atomically

_SCHEME = "botlib-run://"
_LANGUAGE = "botlib-python"  # Python whose injected parameters fit the page


class Stopped(KeyboardInterrupt):
    """A signal asked the runner to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def environment(environ: Mapping[str, str], root: Path, ipython_dir: Path, *, keys: bool = False,
                stop: Path | None = None) -> dict[str, str]:
    """What the kernel sees of the environment.

    Broker keys reach only the notebook of a session that trades at the broker (``keys``); a user's plotting backend and
    IPython profile do not change what is recorded, and the kernel imports the botlib that started it. ``stop`` is the
    file by which a session is asked to stop.
    """
    kept = {k: v for k, v in environ.items() if (keys or not k.startswith("APCA_"))
            and k not in {"MPLBACKEND", "PYTHONSTARTUP", stop_file.VARIABLE}}
    if stop is not None:
        kept[stop_file.VARIABLE] = str(stop)
    kept |= {ROOT_VARIABLE: str(root), "IPYTHONDIR": str(ipython_dir), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    home = Path(__file__).resolve().parents[1]
    if not {"site-packages", "dist-packages"} & set(home.parts):  # an installed botlib is found anyway
        kept["PYTHONPATH"] = os.pathsep.join([str(home), *filter(None, [environ.get("PYTHONPATH")])])
    return kept


def execute(source: str, parameters: Mapping[str, Any], target: Path, *, environ: Mapping[str, str], folder: Path,
            log: Path, secrets: Sequence[str], progress: bool, kernels: list[Any],
            say: Callable[[str], Any] | None = None) -> None:
    """Execute a notebook's text and save it, as it goes on, to ``target``; returns when every cell has run.

    ``parameters`` must be checked before: papermill runs whatever stands in a name as code. The kernel works in
    ``folder``; whatever it or papermill says goes to ``log``. Values of ``secrets`` are starred in the notebook and
    the log. ``kernels`` is the list that `stop_signals` gives. ``say`` is told each line that a cell prints, at once.

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        A cell raised.
    Stopped
        A stop signal, within `stop_signals`; the kernel is dead by then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import papermill
        from papermill.iorw import papermill_io
        from papermill.translators import papermill_translators

        if not _FILES.registered:
            papermill_io.register(_SCHEME, _FILES)
            papermill_translators.register(_LANGUAGE, _translator())
            _FILES.registered = True
        key = f"{_SCHEME}{uuid.uuid4().hex}/"
        line = ProgressLine(sys.stderr) if progress else None
        _FILES.runs[key] = (source, target, secrets, line)
        with log.open("a", encoding="utf-8") as stream, _quietly(stream):
            masked = MaskedStream(stream, secrets, say)
            try:
                _in_own_loop(lambda: papermill.execute_notebook(
                    key + "source.ipynb", key + "notebook.ipynb", parameters=dict(parameters), kernel_name="python3",
                    language=_LANGUAGE,
                    kernel_manager_class=_kernel_manager(dict(environ), folder, stream, kernels),
                    coalesce_streams=True, autosave_cell_every=5, start_timeout=120, iopub_timeout=120,
                    stdout_file=masked, stderr_file=masked, progress_bar=False))
            finally:
                del _FILES.runs[key]
                if line is not None:
                    line.clear()
                for kernel in kernels:
                    kill(kernel)
                masked.end()


def _in_own_loop(work: Callable[[], Any]) -> None:
    """Call ``work`` with an event loop of its own for jupyter_core, which would leave one open for good."""
    from jupyter_core.utils import ensure_event_loop

    def inside() -> None:
        loop = ensure_event_loop()
        try:
            work()
        finally:
            loop.set_exception_handler(lambda *_: None)  # what a killed kernel's tasks say has been said
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=5))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            asyncio.set_event_loop(None)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        contextvars.Context().run(inside)  # an empty context: the loop made in it is surely ours to close
    else:
        work()  # called from a notebook: jupyter_core works in a thread of its own


class _RunFiles:
    """papermill's reads and writes for our scheme: paths with braces work, saves are atomic, secrets are starred."""

    def __init__(self) -> None:
        self.registered = False
        self.runs: dict[str, tuple[str, Path, Sequence[str], ProgressLine | None]] = {}

    def _run(self, path: str) -> tuple[str, Path, Sequence[str], ProgressLine | None]:
        return self.runs[path[: path.rindex("/") + 1]]

    def read(self, path: str) -> str:
        return self._run(path)[0]

    def write(self, text: str, path: str) -> None:
        _, target, secrets, line = self._run(path)
        notebook = json.loads(text)
        if line is not None:  # papermill saves whenever a cell begins
            line.show(where(notebook["cells"]))
        for cell in notebook["cells"]:
            if cell.get("outputs"):
                cell["outputs"] = short(cell["outputs"])
        recorded = notebook["metadata"].get("papermill", {})
        recorded.pop("input_path", None)
        recorded.pop("output_path", None)
        write_notebook(target, notebook, secrets)

    def end_progress(self) -> None:
        """No progress line from now on; what is said next has a line of its own."""
        for _, _, _, line in list(self.runs.values()):
            if line is not None:
                line.end()

    def listdir(self, path: str) -> list[str]:
        return [path]

    def pretty_path(self, path: str) -> str:
        return path


_FILES = _RunFiles()


def _translator() -> type:
    """How papermill writes the injected parameters: as it does for Python, but no line runs off the page."""
    from papermill.translators import PythonTranslator

    class Wrapped(PythonTranslator):  # type: ignore[misc]
        @classmethod
        def codify(cls, parameters: Mapping[str, Any], comment: str = "Parameters") -> str:
            lines = [f"{name} = {literal(value, len(name) + 3)}" for name, value in parameters.items()]
            return "\n".join([f"# {comment}", *lines]) + "\n"

    return Wrapped


def write_notebook(path: Path, notebook: Any, secrets: Sequence[str] = ()) -> None:
    """A notebook in its JSON form, starred and saved atomically, laid out as nbformat does."""
    text = json.dumps(hygiene.mask(notebook, secrets), indent=1, ensure_ascii=False, sort_keys=True)
    write_atomically(path, text + "\n")


def _kernel_manager(environ: dict[str, str], folder: Path, output: IO[str], started: list[Any]) -> type:
    """A kernel manager class that starts this Python, whatever "python3" is registered as."""
    import zmq
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):  # type: ignore[misc]
        @property
        def kernel_spec(self) -> KernelSpec:
            # its argv begins with sys.executable
            return KernelSpec(name="python3", **get_kernel_dict(extra_arguments=["--ext=botlib.cell_output"]))

        async def start_kernel(self, **options: Any) -> None:
            started.append(self)
            if hasattr(self, "transport_encryption") and zmq.has("curve"):  # else a kernel that could do it warns
                self.transport_encryption = "auto"
            await super().start_kernel(**{**options, "env": environ, "cwd": str(folder), "stdout": output,
                                          "stderr": output})
            self.process = getattr(self.provisioner, "process", None)  # which forgets it when it has ended

    return ThisPython


def exit_status(kernels: Sequence[Any]) -> int | None:
    """How the last kernel ended by itself: its exit code, or minus the signal that ended it; None when that cannot be
    told."""
    status = getattr(getattr(kernels[-1] if kernels else None, "process", None), "returncode", None)
    return status if isinstance(status, int) else None


def kill(manager: Any) -> None:
    """End a kernel and whatever it started, at once; harmless when it is gone."""
    process = getattr(manager.provisioner, "process", None)
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)  # a kernel leads its own process group
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


@contextlib.contextmanager
def stop_signals(first: Callable[[int], bool] = lambda signum: False) -> Iterator[list[Any]]:
    """Within: SIGINT, SIGTERM and SIGHUP kill the kernels in the list it gives and raise `Stopped`; another signal
    cannot disturb the clean-up. Outside the main thread, where Python allows no handlers, it only gives the list.

    ``first`` is asked before: when it answers True, it has asked for an orderly end, and the run goes on to it.
    """
    kernels: list[Any] = []
    if threading.current_thread() is not threading.main_thread():
        yield kernels
        return
    wanted = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
    wanted = [s for s in wanted if s == signal.SIGINT or signal.getsignal(s) != signal.SIG_IGN]  # nohup stays nohup
    before = {s: signal.getsignal(s) for s in wanted}

    def stop(signum: int, _frame: Any) -> None:
        if first(signum):
            return
        for s in wanted:
            signal.signal(s, signal.SIG_IGN)
        _FILES.end_progress()  # papermill's last save says that every cell is done
        for kernel in kernels:
            kill(kernel)
        raise Stopped(signum)

    try:
        for s in wanted:
            signal.signal(s, stop)
        yield kernels
    finally:
        for s, handler in before.items():
            signal.signal(s, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def _quietly(stream: IO[str]) -> Iterator[None]:
    """Within: what papermill, nbclient and asyncio log goes to the stream, not to the screen."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: "unknown parameter" not in record.getMessage())  # they were checked before
    loggers = [logging.getLogger(n) for n in ("papermill", "nbclient", "traitlets", "asyncio", "jupyter_client")]
    before = [(log, log.propagate, list(log.handlers)) for log in loggers]
    try:
        for log in loggers:
            log.propagate, log.handlers = False, [handler]
        yield
    finally:
        for log, propagate, handlers in before:
            log.propagate, log.handlers = propagate, handlers
