"""Networks that operators might speak about: cell numbers, and slice names with what people call them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SCENARIOS = (
    ("cameras", "signal-control", "metering", "vehicles"),
    ("motion-control", "driverless-trucks", "inspection", "vibration"),
    ("telesurgery", "monitoring", "imaging", "wearables"),
    ("vehicles", "tele-operation", "passengers", "roadside"),
    ("streaming", "assistants", "security-cameras", "home-sensors"),
    ("vessels", "drone-control", "passengers", "buoys"),
)
_ALIASES = {
    "cameras": ("video", "cctv", "the cameras", "camera"),
    "signal-control": ("traffic lights", "signals", "signal"),
    "metering": ("meters", "smart meters", "meter"),
    "vehicles": ("cars", "the cars", "vehicle"),
    "motion-control": ("robots", "the robots", "motion"),
    "driverless-trucks": ("trucks", "agvs"),
    "inspection": ("quality inspection", "inspections"),
    "vibration": ("vibration sensors",),
    "telesurgery": ("surgery", "the surgeons", "surgical robots"),
    "monitoring": ("patient monitoring", "monitors"),
    "imaging": ("images", "scans"),
    "wearables": ("the wearables", "wearable"),
    "tele-operation": ("teleoperation", "remote driving"),
    "passengers": ("the passengers", "passenger wifi"),
    "roadside": ("roadside units",),
    "streaming": ("tv", "video streaming"),
    "assistants": ("voice assistants", "speakers"),
    "security-cameras": ("security", "the security cameras"),
    "home-sensors": ("sensors", "the sensors"),
    "vessels": ("ships", "boats"),
    "drone-control": ("drones", "the drones"),
    "buoys": ("the buoys", "buoy"),
    "robots": ("the robots", "robot arms"),
    "video": ("cameras", "video feeds"),
}
_MORE = (
    "robots", "video", "sensors", "voice", "gaming", "tracking", "scanners", "forklifts", "cranes", "printers",
    "kiosks", "drones", "trains", "trams", "lifts", "pumps", "valves", "turbines", "solar", "lighting", "parking",
    "waste", "tickets", "displays", "broadcast", "press", "staff", "visitors", "police", "ambulance", "fire",
    "logistics", "cold-chain", "weather", "irrigation", "tractors", "cattle", "office", "backup", "telemetry",
    "augmented-reality", "remote-control", "public-safety", "best-effort", "mobile-broadband", "factory-floor",
)  # fmt: skip
_SYLLABLES = ("ba", "ko", "ri", "ten", "lo", "mus", "va", "der", "si", "gra", "pel", "no", "tur", "fi", "zan", "que")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Cell ids, and slice names in order."""

    cells: tuple[int, ...]
    slices: tuple[str, ...]

    def mention(self, number: int, rng: np.random.Generator) -> str:
        """One way to speak of a slice, numbered from 1; never one that also fits another slice."""
        name = self.slices[number - 1]
        forms = [name, name, name, f"the {name}", name.replace("-", " "), f"{name} slice"]
        others = {word for other in self.slices if other != name for word in other.split("-")}
        forms += [alias for alias in _ALIASES.get(name, ()) if not set(alias.split()) & others]
        if "-" in name:
            forms += [part for part in name.split("-")[:1] if part not in others]
        return str(forms[rng.integers(len(forms))])


def random_network(rng: np.random.Generator) -> Network:
    """A scenario's slices or a mixture of other names, some of them invented."""
    num_cells = int(rng.integers(3, 20))
    start = int(rng.choice((0, 1, 1, 1, 10, 100, int(rng.integers(1, 900)))))
    cells = tuple(range(start, start + num_cells))
    if rng.random() < 0.4:
        names = list(_SCENARIOS[rng.integers(len(_SCENARIOS))])
        return Network(cells=cells, slices=tuple(names[i] for i in rng.permutation(len(names))))
    wanted = int(rng.integers(2, 7))
    pool = (*_MORE, *_ALIASES)
    chosen: dict[str, None] = {}
    while len(chosen) < wanted:
        is_invented = rng.random() < 0.35
        chosen[_invented(rng) if is_invented else str(pool[rng.integers(len(pool))])] = None
    return Network(cells=cells, slices=tuple(chosen))


def _invented(rng: np.random.Generator) -> str:
    return "".join(str(s) for s in rng.choice(_SYLLABLES, int(rng.integers(2, 4))))
