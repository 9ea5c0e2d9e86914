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
    "cameras": ("video", "cctv", "the cameras", "camera", "video feeds", "the video", "surveillance"),
    "signal-control": ("traffic lights", "signals", "signal", "the traffic lights", "stop lights"),
    "metering": ("meters", "smart meters", "meter", "the meters"),
    "vehicles": ("cars", "the cars", "vehicle", "car traffic"),
    "motion-control": ("robots", "the robots", "motion", "robot arms", "the robot arms"),
    "driverless-trucks": ("trucks", "agvs", "the agvs", "self-driving trucks"),
    "inspection": ("quality inspection", "inspections", "video", "machine vision", "quality cameras"),
    "vibration": ("vibration sensors", "the vibration sensors", "shaking sensors"),
    "telesurgery": ("surgery", "the surgeons", "surgical robots", "operating theatre", "surgeries"),
    "monitoring": ("patient monitoring", "monitors", "the monitors", "vital signs"),
    "imaging": ("images", "scans", "x-rays", "the scans"),
    "wearables": ("the wearables", "wearable", "smart watches", "wristbands"),
    "tele-operation": ("teleoperation", "remote driving", "remote drivers"),
    "passengers": ("the passengers", "passenger wifi", "travellers", "riders"),
    "roadside": ("roadside units", "the roadside units", "road units"),
    "streaming": ("tv", "video streaming", "films", "movies", "video"),
    "assistants": ("voice assistants", "speakers", "smart speakers"),
    "security-cameras": ("security", "the security cameras", "cctv"),
    "home-sensors": ("sensors", "the sensors", "house sensors"),
    "vessels": ("ships", "boats", "the ships"),
    "drone-control": ("drones", "the drones", "uavs"),
    "buoys": ("the buoys", "buoy", "floats"),
    "robots": ("the robots", "robot arms", "robotics"),
    "video": ("cameras", "video feeds", "cctv", "streams"),
    "sensors": ("the sensors", "sensor readings", "probes"),
    "voice": ("calls", "phone calls", "telephony"),
    "gaming": ("gamers", "games"),
    "trains": ("the trains", "rail", "railway"),
    "lifts": ("elevators", "the elevators"),
    "ambulance": ("ambulances", "paramedics"),
    "press": ("journalists", "reporters", "the media"),
    "visitors": ("guests", "the guests"),
    "drones": ("uavs", "the drones"),
    "cranes": ("the cranes", "hoists"),
    "forklifts": ("lift trucks", "the forklifts"),
    "broadcast": ("tv crews", "live tv"),
    "augmented-reality": ("ar", "ar glasses", "the headsets"),
    "mobile-broadband": ("broadband", "embb", "phones"),
}  # fmt: skip
_MORE = (
    "robots", "video", "sensors", "voice", "gaming", "tracking", "scanners", "forklifts", "cranes", "printers",
    "kiosks", "drones", "trains", "trams", "lifts", "pumps", "valves", "turbines", "solar", "lighting", "parking",
    "waste", "tickets", "displays", "broadcast", "press", "staff", "visitors", "police", "ambulance", "fire",
    "logistics", "cold-chain", "weather", "irrigation", "tractors", "cattle", "office", "backup", "telemetry",
    "augmented-reality", "remote-control", "public-safety", "best-effort", "mobile-broadband", "factory-floor",
    "excavators", "harbour", "welding", "paint-shop", "conveyor", "assembly", "warehouse", "pickers", "badges",
    "thermostats", "heat-pumps", "chargers", "scooters", "bicycles", "buses", "ferries", "tugs", "divers", "anglers",
    "greenhouse", "beehives", "milking", "harvest", "silos", "mills", "furnace", "boilers", "chillers", "elevators",
    "guards", "fences", "gates", "turnstiles", "cashiers", "vending", "billboards", "stadium", "referees", "athletes",
    "timing", "scoreboards", "students", "lectures", "laboratory", "telescopes", "seismic", "flood-alerts", "rivers",
    "dams", "grid-protection", "substations", "wind-farm", "smart-grid", "pipelines", "refinery", "drill-rig",
    "tunnels", "airport", "baggage", "runway", "pilots", "nurses", "pharmacy", "triage", "beds", "holograms",
    "headsets", "remote-experts", "digital-twin", "predictive-maintenance", "quality-control", "asset-tracking",
    "fleet-management", "push-to-talk", "body-cams", "gunshot-detection", "crowd-counting", "air-quality",
    "noise-maps", "street-lights", "water-meters", "gas-meters", "iot", "urllc", "embb", "mmtc", "web", "mail",
    "guests",
)  # fmt: skip
_SYLLABLES = (
    "ba", "ko", "ri", "ten", "lo", "mus", "va", "der", "si", "gra", "pel", "no", "tur", "fi", "zan", "que", "ju", "hex",
    "ol", "mi", "shu", "wen", "dra", "py", "ex", "ul",
)  # fmt: skip
_NICKNAME_ODDS = 0.4
_SHORT = 4
"""Letters of a part that does not stand for its whole name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Cell ids, and slice names in order."""

    cells: tuple[int, ...]
    slices: tuple[str, ...]

    def mention(self, number: int, rng: np.random.Generator) -> str:
        """One way to speak of a slice, numbered from 1; never one that also fits another slice."""
        name = self.slices[number - 1]
        others = {word for other in self.slices if other != name for word in _words_of(other)}
        nicknames = [alias for alias in _ALIASES.get(name, ()) if not set(alias.split()) & others]
        if nicknames and rng.random() < _NICKNAME_ODDS:
            return str(nicknames[rng.integers(len(nicknames))])
        forms = [name, name, name, f"the {name}", name.replace("-", " "), f"{name} slice", f"the {name} slice"]
        if "-" in name:
            forms += [part for part in name.split("-") if len(part) > _SHORT and part not in others]
        return str(forms[rng.integers(len(forms))])

    def stranger(self, rng: np.random.Generator) -> str:
        """A slice's name that means none of this network's slices."""
        own = {word for name in self.slices for word in _words_of(name)}
        while True:
            name = _invented(rng) if rng.random() < 0.3 else str(_MORE[rng.integers(len(_MORE))])
            if not _words_of(name) & own:
                return name


def random_network(rng: np.random.Generator) -> Network:
    """A scenario's slices or a mixture of other names, some of them invented."""
    num_cells = int(rng.integers(3, 20))
    start = int(rng.choice((0, 1, 1, 1, 10, 100, int(rng.integers(1, 900)))))
    cells = tuple(range(start, start + num_cells))
    if rng.random() < 0.4:
        names = list(_SCENARIOS[rng.integers(len(_SCENARIOS))])
        return Network(cells=cells, slices=tuple(names[i] for i in rng.permutation(len(names))))
    wanted = int(rng.integers(2, 8))
    pool = (*_MORE, *_ALIASES, *_ALIASES)
    chosen: dict[str, None] = {}
    while len(chosen) < wanted:
        is_invented = rng.random() < 0.25
        chosen[_invented(rng) if is_invented else str(pool[rng.integers(len(pool))])] = None
    return Network(cells=cells, slices=tuple(chosen))


def _words_of(name: str) -> set[str]:
    """The words by which a slice may be meant."""
    return {word for form in (name, *_ALIASES.get(name, ())) for word in form.replace("-", " ").split()} - {"the"}


def _invented(rng: np.random.Generator) -> str:
    return "".join(str(s) for s in rng.choice(_SYLLABLES, int(rng.integers(2, 4))))
