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
_KINDS = (
    ("robots", "robot arms", "robotics", "automats", "bots", "manipulators", "cobots", "machines", "motion-control"),
    ("video", "cameras", "cctv", "camera feeds", "video streams", "footage", "surveillance", "webcams", "pictures"),
    ("inspection", "video", "video inspection", "optical inspection", "quality checks", "image checks", "cameras"),
    ("imaging", "images", "image transfer", "mri", "ct scans", "radiology", "x ray pictures", "video", "pictures"),
    ("streaming", "video", "tv", "series", "netflix", "movie nights", "binge watchers", "telly", "films", "the tube"),
    ("security-cameras", "alarm cameras", "cctv", "door cameras", "cameras", "surveillance", "video", "watch cameras"),
    ("metering", "meters", "meter readings", "electricity meters", "counters", "smart meters", "the meter data"),
    ("vehicles", "cars", "automobiles", "connected cars", "drivers", "motorists", "autos", "v2x", "road traffic"),
    ("signal-control", "traffic lights", "stop lights", "traffic signals", "lights", "junctions", "crossings"),
    ("telesurgery", "surgery", "surgeons", "remote surgery", "operating room", "operations", "scalpels", "the theatre"),
    ("monitoring", "patient monitors", "vitals", "heart rates", "ecg", "bedside monitors", "patients", "heartbeats"),
    ("wearables", "watches", "smart watches", "fitness bands", "bracelets", "step counters", "wrist sensors"),
    ("tele-operation", "remote driving", "remote control room", "remote pilots", "remote steering", "teledriving"),
    ("passengers", "riders", "travellers", "commuters", "passenger internet", "onboard wifi", "people on board"),
    ("roadside", "roadside boxes", "road sensors", "roadside equipment", "rsus", "roadside sensors", "gantries"),
    ("assistants", "smart speakers", "voice assistants", "speakers", "talking speakers", "voice helpers", "alexas"),
    ("home-sensors", "smart home", "thermostats", "smoke detectors", "house sensors", "home automation", "sensors"),
    ("vessels", "ships", "boats", "freighters", "container ships", "tankers", "ferries", "the fleet", "shipping"),
    ("drone-control", "drones", "uavs", "quadcopters", "copters", "unmanned aircraft", "flying robots", "drone pilots"),
    ("buoys", "floats", "floating sensors", "sea sensors", "marker buoys", "water sensors"),
    ("driverless-trucks", "trucks", "agvs", "carts", "haulers", "lorries", "autonomous trucks", "transporters"),
    ("vibration", "vibration sensors", "accelerometers", "shake sensors", "machine health", "condition sensors"),
    ("motion-control", "robots", "axes", "drives", "servos", "robot control", "machine control", "machines", "cnc"),
    ("voice", "calls", "phone calls", "telephony", "voip", "speech", "phones", "talkers"),
    ("gaming", "games", "gamers", "players", "esports", "consoles", "cloud gaming"),
    ("trains", "railway", "rail", "locomotives", "rolling stock", "metro", "train control"),
    ("trams", "streetcars", "tramway", "light rail"),
    ("lifts", "elevators", "hoists"),
    ("ambulance", "ambulances", "paramedics", "rescue", "medics", "first aid", "rescue service"),
    ("police", "police officers", "patrols", "cops", "law enforcement", "patrol cars"),
    ("fire", "firefighters", "fire brigade", "fire engines", "fire crews"),
    ("press", "journalists", "reporters", "media", "news crews"),
    ("visitors", "guests", "tourists", "public wifi", "walk-ins"),
    ("students", "pupils", "learners", "classrooms", "schools"),
    ("staff", "employees", "workers", "personnel", "colleagues", "crew"),
    ("lighting", "lamps", "street lights", "lights", "lanterns", "light bulbs"),
    ("parking", "parking spots", "car parks", "parking sensors", "garages"),
    ("waste", "bins", "garbage", "rubbish", "waste bins", "trash cans"),
    ("weather", "weather stations", "rain gauges", "wind sensors", "meteorology"),
    ("irrigation", "sprinklers", "watering", "water valves", "field sensors"),
    ("tractors", "farm machines", "combines", "harvesters", "farming"),
    ("cattle", "cows", "livestock", "herd", "animals", "cow collars"),
    ("logistics", "parcels", "deliveries", "freight", "couriers", "shipments"),
    ("cranes", "gantry cranes", "hoists", "lifting gear", "crane drivers"),
    ("forklifts", "lift trucks", "pallet trucks", "stackers"),
    ("turbines", "wind turbines", "windmills", "generators", "rotors"),
    ("solar", "solar panels", "photovoltaics", "panels", "sun power"),
    ("chargers", "charging stations", "charge points", "wall boxes", "ev charging"),
    ("scooters", "e-scooters", "kick scooters", "rental scooters"),
    ("buses", "coaches", "bus fleet", "public buses", "bus lines"),
    ("augmented-reality", "ar", "ar glasses", "headsets", "goggles", "smart glasses", "mixed reality"),
    ("holograms", "3d calls", "volumetric video", "hologram calls"),
    ("grid-protection", "protection relays", "relays", "breakers", "grid safety"),
    ("substations", "transformers", "switchgear", "power stations"),
    ("smart-grid", "power grid", "grid", "electricity network", "grid sensors"),
    ("body-cams", "officer cameras", "chest cameras", "cameras", "video"),
    ("push-to-talk", "walkie talkies", "radios", "ptt", "group calls", "handsets"),
    ("public-safety", "emergency services", "first responders", "blue lights", "emergency crews", "rescuers"),
    ("mobile-broadband", "broadband", "embb", "phones", "smartphones", "internet users", "surfers", "downloads"),
    ("embb", "broadband", "phones", "smartphones", "mobile data", "surfers", "best effort data", "downloads"),
    ("urllc", "low latency", "critical traffic", "ultra reliable", "time critical", "control loops", "robots"),
    ("mmtc", "iot", "sensors", "massive iot", "small devices", "things", "meters"),
    ("iot", "sensors", "things", "small devices", "gadgets", "meters", "iot devices"),
    ("sensors", "probes", "measuring devices", "sensor readings", "gauges", "detectors"),
    ("web", "browsing", "web pages", "surfing", "internet", "surfers", "websites"),
    ("mail", "emails", "letters", "inboxes", "messages"),
    ("backup", "backups", "nightly copies", "archive", "file copies"),
    ("office", "desk workers", "office pcs", "laptops", "desktops", "paperwork"),
    ("asset-tracking", "trackers", "tags", "asset tags", "tracking tags", "beacons"),
    ("fleet-management", "fleet", "company cars", "vans", "delivery vans"),
    ("predictive-maintenance", "maintenance", "machine health", "wear sensors", "repair forecasts"),
    ("air-quality", "air sensors", "pollution sensors", "smog sensors", "fine dust"),
    ("conveyor", "belts", "conveyor belts", "assembly line", "transport belts"),
    ("welding", "welders", "welding robots", "weld guns", "robots"),
    ("nurses", "nursing", "caregivers", "ward staff", "carers"),
    ("pilots", "aircrew", "cockpits", "flight crews"),
    ("broadcast", "tv crews", "live tv", "outside broadcast", "television", "live video", "video"),
    ("remote-experts", "video support", "expert calls", "remote helpers", "video calls", "video"),
    ("excavators", "diggers", "earth movers", "construction machines"),
    ("scanners", "barcode readers", "hand scanners", "readers"),
    ("kiosks", "terminals", "ticket machines", "info points"),
)  # fmt: skip
"""What people call one kind of traffic: each word may be a slice's name, and then the others are its nicknames."""
_NICKNAMES = {
    name: tuple(
        dict.fromkeys([*_ALIASES.get(name, ()), *(w for kind in _KINDS if name in kind for w in kind if w != name)])
    )
    for name in {*_ALIASES, *(kind[0] for kind in _KINDS), *(w for kind in _KINDS for w in kind[1:4] if " " not in w)}
}
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
_NICKNAME_ODDS, _THE_ODDS = 0.45, 0.3
_SHORT = 4
"""Letters of a part that does not stand for its whole name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Cell ids, and slice names in order."""

    cells: tuple[int, ...]
    slices: tuple[str, ...]

    def mention(self, number: int, rng: np.random.Generator, *, nickname_odds: float = _NICKNAME_ODDS) -> str:
        """One way to speak of a slice, numbered from 1; never one that also fits another slice."""
        name = self.slices[number - 1]
        others = {word for other in self.slices if other != name for word in _words_of(other)}
        nicknames = [alias for alias in _NICKNAMES.get(name, ()) if not set(_split(alias)) & others]
        if nicknames and rng.random() < nickname_odds:
            nickname = str(nicknames[rng.integers(len(nicknames))])
            return f"the {nickname}" if rng.random() < _THE_ODDS and not nickname.startswith("the ") else nickname
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
    pool = (*_MORE, *_ALIASES, *sorted(_NICKNAMES))
    chosen: dict[str, None] = {}
    while len(chosen) < wanted:
        is_invented = rng.random() < 0.25
        chosen[_invented(rng) if is_invented else str(pool[rng.integers(len(pool))])] = None
    return Network(cells=cells, slices=tuple(chosen))


def _words_of(name: str) -> set[str]:
    """The words by which a slice may be meant."""
    return {word for form in (name, *_NICKNAMES.get(name, ())) for word in _split(form)} - {"the"}


def _split(form: str) -> list[str]:
    return form.replace("-", " ").split()


def _invented(rng: np.random.Generator) -> str:
    return "".join(str(s) for s in rng.choice(_SYLLABLES, int(rng.integers(2, 4))))
