"""The simulated line: where the strip is, which coil it belongs to, and what the sensors say."""

import math
import time

from drivers.simulated.strip import FRAME_PITCH_MM

_WOBBLE, _WOBBLE_SECONDS = 0.02, 17.0
_HOT_EVERY_SECONDS, _HOT_FROM_SECONDS, _HOT_FOR_SECONDS = 25.0, 7.0, 8.0
_COOLANT_CELSIUS, _HOT_RISE_CELSIUS = 44.5, 7.0
_FIRST_HEAT, _COILS_PER_HEAT, _FIRST_COIL = 2041, 12, 7


class Line:
    """A line at `speed_m_per_s`, with 2 % of wobble, and a new coil every `coil_m` metres.

    It stands still until it is started. Everything is a function of the seconds since the start, so it
    can be asked about any instant.
    """

    def __init__(self, speed_m_per_s: float = 1.0, coil_m: float = 60.0) -> None:
        self._speed_m_per_s = speed_m_per_s
        self._coil_m = coil_m
        self._started_mono: float | None = None

    def start(self) -> None:
        """From now on it runs."""
        self._started_mono = time.monotonic()

    def seconds(self) -> float:
        """Since the start; 0 before it."""
        return 0.0 if self._started_mono is None else time.monotonic() - self._started_mono

    def speed_m_per_s(self, seconds: float) -> float:
        """How fast the strip moves."""
        return self._speed_m_per_s * (1 + _WOBBLE * math.sin(seconds * math.tau / _WOBBLE_SECONDS))

    def position_mm(self, seconds: float) -> float:
        """How much of the strip has passed: the integral of the speed."""
        period = _WOBBLE_SECONDS / math.tau
        wobble = _WOBBLE * period * (1 - math.cos(seconds / period))
        return 1000 * self._speed_m_per_s * (seconds + wobble)

    def seconds_until(self, frame_number: int) -> float:
        """How long until the strip is where this frame is taken; negative once it has passed."""
        now = self.seconds()
        missing_mm = frame_number * FRAME_PITCH_MM - self.position_mm(now)
        return missing_mm / 1000 / self.speed_m_per_s(now)

    def frame_number(self) -> int:
        """The frame that the strip passed last."""
        return int(self.position_mm(self.seconds()) // FRAME_PITCH_MM)

    def coil_id(self, seconds: float) -> str:
        """The coil that the strip belongs to, such as AL-2041-07."""
        number = _FIRST_COIL - 1 + int(self.position_mm(seconds) / 1000 / self._coil_m)
        return f"AL-{_FIRST_HEAT + number // _COILS_PER_HEAT}-{number % _COILS_PER_HEAT + 1:02d}"

    def coolant_celsius(self, seconds: float) -> float:
        """Warm, and above 48 °C for four seconds every 25 s, from 9 s after the start on."""
        hot = (seconds % _HOT_EVERY_SECONDS - _HOT_FROM_SECONDS) / _HOT_FOR_SECONDS
        rise = math.sin(math.pi * hot) ** 2 if 0 <= hot <= 1 else 0.0
        return _COOLANT_CELSIUS + _HOT_RISE_CELSIUS * rise + 0.3 * math.sin(seconds / 7)

    def mill_load_kn(self, seconds: float) -> float:
        """The mill's rolling force."""
        return 8200 + 60 * math.sin(seconds / 3) + 25 * math.sin(seconds * 2.3)
