"""Toggles as an OpenFeature provider has them: read twice a second, never while somebody waits for an answer.

The provider is flagd's file resolver, on a file that is written here from the journal, or a class that the settings name. What
it does not say, or says wrongly, is as the journal says, and counted; what the journal does not say is as the settings say. As
long as there is nothing to ask, no provider is loaded.
"""

import importlib
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.deployment.toggles import Toggles, flag_of, flags_file
from pipelines.logs import log
from pipelines.store.journal import ToggleValue

if TYPE_CHECKING:
    from openfeature.client import OpenFeatureClient

DOMAIN = "ratchet"
KINDS: Mapping[type, str] = {bool: "boolean", int: "integer", float: "float"}
"""What OpenFeature calls the type of a value."""


class ToggleReader(Collector):
    """Keeps `current` up to date. Only its own thread writes it, in one assignment.

    Args:
        journaled: gives the values that the journal has now.
        settings: the toggles where nobody toggled.
        file: of the flags; written anew where the journal has others.
        poll_s: seconds between two readings.
        provider: class of an OpenFeature provider, with its module; empty: flagd's file resolver.
        options: its arguments.
    """

    def __init__(
        self,
        journaled: Callable[[], Mapping[str, ToggleValue]],
        settings: Toggles,
        file: Path,
        poll_s: float,
        provider: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.current = settings
        self._journaled, self._settings, self._file, self._poll_s = journaled, settings, file, poll_s
        self._provider, self._options = provider, dict(options or {})
        self._client: OpenFeatureClient | None = None
        self._problems: Counter[tuple[str, str]] = Counter()
        self._read_at = time.monotonic()
        self._last_logged: object = None
        self._stop = threading.Event()

    def run(self) -> None:
        """Read until `stop`."""
        while not self._stop.is_set():
            self.poll()
            self._stop.wait(self._poll_s)

    def stop(self) -> None:
        """End `run` after the current reading."""
        self._stop.set()

    def poll(self) -> None:
        """Read once."""
        values = self._journaled()
        held = self._settings.changed(values)
        problems: dict[str, str] = {}
        if values or self._provider or self._client:
            try:
                if self._client is None:
                    self.current = held  # as long as the provider is loaded, which takes a second, and before it answers
                    self._client = self._connected(held)
                self._write(held)
                held, problems = self._read(self._client, held)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with the provider, searches go on
                problems = dict.fromkeys(Toggles.model_fields, type(error).__name__)
        self.current, self._read_at = held, time.monotonic()
        self._problems.update(problems.items())
        if (told := (held, problems)) != self._last_logged and (self._last_logged or problems or values):
            (log().warning if problems else log().info)("toggles", **held.model_dump(), problems=problems)
        self._last_logged = told

    def _connected(self, held: Toggles) -> "OpenFeatureClient":
        """A client of the provider. A company's may become ready later: until then it says that it is not."""
        from openfeature import api

        logging.getLogger("openfeature").setLevel(logging.CRITICAL)  # else a traceback for each reading that fails
        if self._provider:
            module, _, name = self._provider.rpartition(".")
            api.set_provider(getattr(importlib.import_module(module), name)(**self._options), DOMAIN)
        else:
            from openfeature.contrib.provider.flagd import FlagdProvider
            from openfeature.contrib.provider.flagd.config import ResolverType

            self._write(held)
            poll_ms = int(1000 * self._poll_s)
            flagd = FlagdProvider(
                resolver_type=ResolverType.FILE, offline_flag_source_path=str(self._file), deadline_ms=poll_ms
            )
            api.set_provider_and_wait(flagd, DOMAIN)
        return api.get_client(DOMAIN)

    def _write(self, held: Toggles) -> None:
        """Write the file where it says something else; at once, so that nobody reads a half, whoever else writes it, too."""
        text = flags_file(held).encode()
        if self._provider or (self._file.exists() and self._file.read_bytes() == text):
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._file.with_suffix(f".{uuid.uuid4().hex}")  # processes in containers have one number
        try:
            beside.write_bytes(text)
            beside.replace(self._file)
        finally:
            beside.unlink(missing_ok=True)

    def _read(self, client: "OpenFeatureClient", held: Toggles) -> tuple[Toggles, dict[str, str]]:
        """The toggles by the provider, and for each that it does not give why."""
        problems: dict[str, str] = {}
        read = held
        for name, default in held.model_dump().items():
            details = getattr(client, f"get_{KINDS[type(default)]}_details")(flag_of(name), default)
            if details.error_code:
                problems[name] = str(details.error_code.value)
            elif (taken := read.changed({name: details.value})) == read and details.value != default:
                problems[name] = "OUT_OF_RANGE"
            else:
                read = taken
        return read, problems

    def collect(self) -> Iterator[Metric]:
        """What is toggled, and how often the provider did not say it."""
        values = GaugeMetricFamily("ratchet_toggle", "What a toggle says; yes: 1", labels=["toggle"])
        for name, value in self.current.model_dump().items():
            values.add_metric([name], float(value))
        yield values
        errors = CounterMetricFamily(
            "ratchet_toggle_errors",
            "Readings of a toggle that its provider did not answer, by why",
            labels=["toggle", "reason"],
        )
        for (name, reason), count in list(self._problems.items()):
            errors.add_metric([name, reason], count)
        yield errors
        age = time.monotonic() - self._read_at
        yield GaugeMetricFamily("ratchet_toggles_age_seconds", "Since the toggles were read: a provider that hangs", value=age)
