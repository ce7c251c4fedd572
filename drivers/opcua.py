"""OPC UA: subscribes to a list of nodes, and writes the ones that are configured as writable.

asyncua carries the protocol; it is told not to reconnect, because a driver raises and dies. A connection that
is open and silent is noticed by the server's own keep-alive: the subscription asks for one every
`_KEEP_ALIVES` publishing intervals, and one that does not come within `timeout_seconds` more is a loss.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from drivers.errors import (
    DeviceError,
    DeviceMisconfigured,
    DeviceRefused,
    DeviceUnreachable,
    ProtocolViolation,
)
from drivers.opcua_values import as_type, unix_ns, value_of
from drivers.reading import Quality, Reading, TagValue
from drivers.settings import Name, PeriodSeconds, Settings, TimeoutSeconds, Unit, read_password

if TYPE_CHECKING:  # importing it takes 1 s and 70 MB, which the vision process saves
    from asyncua import ua
    from asyncua.common.node import Node
    from asyncua.common.subscription import DataChangeEvent, Subscription

CONFIRM_SECONDS = 4.0
"""How often a value that does not change is told again, with the time at which the server was last heard."""

_KEEP_ALIVES = 10
_LIFETIMES = 300
_QUEUE_PER_TAG = 20
_MIN_QUEUE = 10_000
_CLOSE_SECONDS = 1.0
_SESSION_MILLISECONDS = 600_000
_REFUSALS = ("BadUserAccessDenied", "BadIdentity", "BadSecurity", "BadCertificate", "BadTooMany", "BadNot")


def _opc_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError("write it as opc.tcp://HOST:PORT/")
    if parts.username or parts.password:
        raise ValueError("put the user into `username` and the password into a file named by `password_file`")
    return url


class OpcUaTag(Settings):
    """One tag: the node that holds it, its unit, and whether the box may write it."""

    name: Name
    node: Annotated[str, Field(pattern=r"^(ns=[0-9]+;)?[isgb]=.+$")]
    unit: Unit = ""
    writable: bool = False


class OpcUaConfig(Settings):
    """An OPC UA server. Its own factory: `async with config.open() as driver`.

    The server samples every `sampling_seconds` (`publishing_seconds` where not given) and reports changes
    every `publishing_seconds`. Log-in is anonymous, or by `username` and the first line of `password_file`.
    """

    driver: Literal["opcua"] = "opcua"
    name: Name
    url: Annotated[str, AfterValidator(_opc_url)]
    publishing_seconds: PeriodSeconds = 0.5
    sampling_seconds: PeriodSeconds | None = None
    timeout_seconds: TimeoutSeconds = 5.0
    username: str | None = None
    password_file: Path | None = None
    tags: Annotated[tuple[OpcUaTag, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        nodes = [tag.node for tag in self.tags]
        if twice := sorted({node for node in nodes if nodes.count(node) > 1}):
            raise ValueError(f"two tags name the same node: {', '.join(twice)}")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: give both or neither")
        return self

    @property
    def tag_units(self) -> Mapping[str, str]:
        """Every tag with its unit."""
        return {tag.name: tag.unit for tag in self.tags}

    @property
    def writable_tags(self) -> frozenset[str]:
        """The tags that may be written."""
        return frozenset(tag.name for tag in self.tags if tag.writable)

    def load_library(self) -> None:
        """Import what `open` needs. See TagDriverConfig."""
        import asyncua.client.client
        import asyncua.common.subscription  # noqa: F401 - for its effect

    @asynccontextmanager
    async def open(self) -> AsyncIterator["OpcUaDriver"]:
        """Connect, log in and subscribe.

        Raises:
            DeviceUnreachable: if that does not succeed in time.
            DeviceRefused: if the server refuses the log-in or the connection's security.
            DeviceMisconfigured: if it does not have a node.
        """
        driver = OpcUaDriver(self)
        try:
            await driver.connect()
            yield driver
        finally:
            await driver.close()


class OpcUaDriver:
    """An open session with an OPC UA server."""

    def __init__(self, config: OpcUaConfig) -> None:
        from asyncua.client.client import Client

        self._config = config
        self._client = Client(
            config.url, timeout=config.timeout_seconds, watchdog_intervall=max(5.0, config.timeout_seconds)
        )
        self._client.session_timeout = _SESSION_MILLISECONDS
        self._client.name = self._client.description = "AlumiGuard Edge"
        self._client.connection_lost_callback = self._connection_lost
        if config.username is not None and config.password_file is not None:
            self._client.set_user(config.username)
            self._client.set_password(read_password(config.password_file))
        self._tags: dict[ua.NodeId, OpcUaTag] = {}
        self._writable: dict[str, tuple[Node, ua.VariantType]] = {}
        self._subscription: Subscription
        self._silence_seconds = math.inf
        self._patience: asyncio.Timeout | None = None
        self._died: DeviceError | None = None

    async def connect(self) -> None:
        """Connect, log in and subscribe; see OpcUaConfig.open."""
        try:
            with _our_errors(self._config):
                async with asyncio.timeout(self._config.timeout_seconds):
                    await self._client.connect()
                    await self._subscribe()
                    await self._learn_types()
        except DeviceError as error:
            self._died = error
            raise

    async def close(self) -> None:
        """Take leave of the server if it still listens; in any case the connection is closed afterwards."""
        protocol = self._client.uaclient.protocol
        if self._died is not None and protocol is not None and protocol.transport is not None:
            protocol.transport.abort()  # asyncua would wait for the answer of a server that gives none
            await asyncio.sleep(0)
        self._died = self._died or DeviceUnreachable(f"{self._config.name}: the connection is closed")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._client.disconnect()
        finally:
            self._client.disconnect_socket()

    async def readings(self) -> AsyncIterator[Reading]:
        """Yield every change the server reports, first the values as they are now. See TagDriver.

        A value that does not change is yielded again every CONFIRM_SECONDS while the server publishes or says
        that it is alive: by the subscription's own promise it is as old as that, not as its last change.
        """
        from asyncua.common.subscription import DataChangeEvent, StatusChangeEvent

        latest: dict[str, Reading] = {}
        confirmed_mono = time.monotonic()
        while True:
            if self._died is None and time.monotonic() - confirmed_mono >= CONFIRM_SECONDS:
                confirmed_mono = time.monotonic()
                for reading in self._confirmed(latest.values()):
                    latest[reading.tag] = reading
                    yield reading
            event = await self._next_event()
            if isinstance(event, DataChangeEvent):
                reading = self._reading(event)
                latest[reading.tag] = reading
                yield reading
            elif isinstance(event, StatusChangeEvent):
                status = event.notification.Status
                raise self._died_of(DeviceUnreachable(f"the server ended the subscription ({status.name})"))

    async def write(self, values: Mapping[str, TagValue]) -> None:
        """Write one tag after the other. See TagDriver."""
        from asyncua import ua
        from asyncua.ua.attribute_ids import AttributeIds

        wanted = []
        for name, value in values.items():
            if name not in self._writable:
                raise DeviceMisconfigured(
                    f"{name!r} is not a writable tag of {self._config.name}",
                    hint="Set `writable = true` on the tag if the box is meant to write it.",
                )
            node, kind = self._writable[name]
            wanted.append((node, ua.Variant(as_type(name, value, kind), kind)))
        if self._died is not None:
            raise self._died
        for node, variant in wanted:
            with _our_errors(self._config):
                async with asyncio.timeout(self._config.timeout_seconds):
                    # without time stamps: many servers refuse a client's
                    await node.write_attribute(AttributeIds.Value, ua.DataValue(variant))

    # --- subscription -------------------------------------------------------------------------------------

    async def _subscribe(self) -> None:
        from asyncua import ua
        from asyncua.common.subscription import OverflowPolicy, Subscription

        config = self._config
        publishing_ms = config.publishing_seconds * 1000
        sampling_ms = (config.sampling_seconds or config.publishing_seconds) * 1000
        # Not by Client.create_subscription: where a server revises the interval, asyncua 2.1 then asks for a
        # keep-alive once in 37 minutes, and its own watchdog would bring a lost subscription back unseen.
        self._subscription = Subscription(
            self._client.uaclient.session,
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=publishing_ms,
                RequestedLifetimeCount=_LIFETIMES,
                RequestedMaxKeepAliveCount=_KEEP_ALIVES,
                MaxNotificationsPerPublish=10_000,
                PublishingEnabled=True,
                Priority=0,
            ),
            queue_maxsize=max(_MIN_QUEUE, _QUEUE_PER_TAG * len(config.tags)),
            overflow=OverflowPolicy.WARN,
        )
        granted = await self._subscription.init()
        keep_alive_seconds = granted.RevisedPublishingInterval / 1000 * granted.RevisedMaxKeepAliveCount
        self._silence_seconds = keep_alive_seconds + config.timeout_seconds
        nodes = [self._client.get_node(tag.node) for tag in config.tags]
        self._tags = {node.nodeid: tag for node, tag in zip(nodes, config.tags, strict=True)}
        results = await self._subscription.subscribe_data_change(
            nodes,
            queuesize=math.ceil(publishing_ms / sampling_ms) + 1,
            sampling_interval=ua.Double(sampling_ms),
        )
        self._refuse_bad_nodes(results)

    def _refuse_bad_nodes(self, results: "list[int | ua.StatusCode]") -> None:
        bad = {
            f"{tag.name} ({tag.node}): {result.name}": result.name
            for tag, result in zip(self._config.tags, results, strict=True)
            if not isinstance(result, int)
        }
        if not bad:
            return
        if all(status.startswith(_REFUSALS) for status in bad.values()):
            raise DeviceRefused(
                f"the server does not let the box read {'; '.join(bad)}",
                hint="Give the box's user the right to read these nodes.",
            )
        raise DeviceMisconfigured(
            f"the server has no such node: {'; '.join(bad)}",
            hint="Look the node ids up with an OPC UA browser; the namespace index may have changed.",
        )

    async def _learn_types(self) -> None:
        for tag in self._config.tags:
            if tag.writable:
                node = self._client.get_node(tag.node)
                self._writable[tag.name] = (node, await node.read_data_type_as_variant_type())

    def _confirmed(self, readings: Iterable[Reading]) -> list[Reading]:
        heard_ns = int((self._subscription.last_publish_at or 0.0) * 1e9)
        horizon_ns = heard_ns - int(CONFIRM_SECONDS * 1e9)
        return [replace(r, received_mono_ns=heard_ns) for r in readings if r.received_mono_ns <= horizon_ns]

    async def _next_event(self) -> Any:
        """The next event; None when there was none for CONFIRM_SECONDS, which is no news."""
        began = time.monotonic()
        while True:
            if self._died is not None:
                raise self._died
            heard = max(began, self._subscription.last_publish_at or 0.0)
            patience_seconds = heard + self._silence_seconds - time.monotonic()
            if patience_seconds <= 0:
                raise self._died_of(
                    DeviceUnreachable(
                        f"the server has been silent for {self._silence_seconds:.1f} s",
                        hint="Check that the server is not hung or overloaded, and its network.",
                    )
                )
            try:
                async with asyncio.timeout(min(patience_seconds, CONFIRM_SECONDS)) as self._patience:
                    return await anext(self._subscription)
            except TimeoutError:
                if patience_seconds > CONFIRM_SECONDS:
                    return None
            except StopAsyncIteration:
                raise self._died_of(DeviceUnreachable("the subscription was closed")) from None
            finally:
                self._patience = None

    async def _connection_lost(self, cause: Exception) -> None:
        self._died_of(
            DeviceUnreachable(
                f"the connection was lost ({_words_of(cause)})", hint="Check the server and its network."
            )
        )
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _died_of(self, error: DeviceError) -> DeviceError:
        self._died = self._died or error
        return self._died

    def _reading(self, event: "DataChangeEvent") -> Reading:
        received_mono_ns = time.monotonic_ns()
        tag, data = self._tags[event.node.nodeid], event.data.monitored_item.Value
        status = data.StatusCode
        quality, words = Quality.GOOD, ""
        if status is not None and status.value != 0:
            words = f"{status.name} (0x{status.value:08X})"
            quality = (
                Quality.BAD if status.is_bad() else Quality.GOOD if status.is_good() else Quality.UNCERTAIN
            )
        value = value_of(event.value)
        if value is None and quality is not Quality.BAD:
            quality, words = Quality.BAD, f"no usable value: {event.value!r:.80}"
        return Reading(tag.name, value, quality, received_mono_ns, unix_ns(data.SourceTimestamp), words)


# --- errors -----------------------------------------------------------------------------------------------


def _words_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


@contextmanager
def _our_errors(config: OpcUaConfig) -> Iterator[None]:
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:  # asyncua raises AssertionError, bare Exception and struct.error as well
        raise _device_error(config, error) from error


def _device_error(config: OpcUaConfig, error: Exception) -> DeviceError:
    from asyncua.ua.uaerrors import UaStatusCodeError

    words = _words_of(error)
    if isinstance(error, TimeoutError):
        return DeviceUnreachable(
            f"no answer from {config.url} within {config.timeout_seconds} s",
            hint="Check that the server runs, and the network between.",
        )
    if isinstance(error, OSError):
        return DeviceUnreachable(
            f"no connection to {config.url} ({words})",
            hint="Check that the server runs, its address and port, and the firewall between.",
        )
    name = type(error).__name__
    if name.startswith(_REFUSALS) or isinstance(error, AssertionError) or "endpoint" in str(error):
        # asyncua 2.1 ends in a bare AssertionError where the server breaks off the opening of the channel
        return DeviceRefused(
            f"{config.url} refuses the connection ({words})",
            hint="Check the user, the password file and which security the server demands.",
        )
    if isinstance(error, UaStatusCodeError):
        return DeviceUnreachable(f"{config.url} answers {words}", hint="See the server's own log.")
    return ProtocolViolation(
        f"{config.url} sent what cannot be understood ({words})", hint="Check that it is an OPC UA server."
    )
