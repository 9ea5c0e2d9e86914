"""The radio model against published formulas, simulated error curves and exact airtimes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from validation_oracles import NS3_LOSS_DB, breakpoint_m, los_probability, loss_db

from telemetry_sim.lora import LoraSettings, time_on_air_us
from telemetry_sim.network.links import draw_links
from telemetry_sim.network.population import bounds_of, build_state, nearest_by_tile
from telemetry_sim.radio.block_error import block_error_rate_of_length
from telemetry_sim.radio.line_of_sight import los_probability as modelled_los_probability
from telemetry_sim.radio.modulation import CQI_EFFICIENCY
from telemetry_sim.radio.path_loss import BASE_STATION_HEIGHT_M, path_loss_db
from telemetry_sim.radio.shadowing import shadowing_field, shadowing_sigma_db
from telemetry_sim.scenarios import scenario
from telemetry_sim.topology import Environment

if TYPE_CHECKING:
    from pathlib import Path

POINTS_PER_MODEL = 2000
NUM_LOS_DRAWS = 200_000

Figure = dict[str, Any]


def figure(name: str, measured: float, target: str, *, holds: bool | None, **more: object) -> Figure:
    """One line of the report; `holds` None marks a figure without a target."""
    return {"figure": name, "measured": measured, "target": target, "holds": holds, **more}


def radio_figures(data: Path, seed: int) -> list[Figure]:
    """Everything about the radio that needs no trace."""
    golden = json.loads((data / "golden" / "golden_formulas.json").read_text())
    rng = np.random.default_rng(seed)
    return [
        *(_random_points(environment, is_los, rng) for environment in Environment for is_los in (True, False)),
        _golden_loss(golden["pathloss_db"]),
        _ns3_loss(),
        _golden_sigma(golden["sigma_sf_db"]),
        _golden_los(golden["los_prob_umi"]),
        *(_los_frequency(environment, rng) for environment in Environment),
        _simulated_los_frequency(seed),
        _shadow_correlation(seed),
        _golden_cqi(golden["cqi_table1_se"]),
        _golden_airtime(golden["lora_toa_ms"]),
        _block_errors(data),
    ]


def _random_points(environment: Environment, is_los: bool, rng: np.random.Generator) -> Figure:
    """Random distances, carriers and heights, and both sides of every breakpoint."""
    is_hall = environment.value.startswith("inf")
    low_m, high_m = (1.0, 600.0) if is_hall else (10.0, 5000.0)
    num = POINTS_PER_MODEL
    ghz = rng.uniform(0.5, 30.0, num)
    h_bs = BASE_STATION_HEIGHT_M[environment] + (0.0 if is_hall else rng.uniform(-2.0, 10.0, num))
    h_bs = np.broadcast_to(h_bs, num)
    h_ut = rng.uniform(1.5, 2.0, num) if is_hall else rng.uniform(1.5, 10.0, num)
    d_2d = np.exp(rng.uniform(np.log(low_m), np.log(high_m), num))
    if not is_hall:
        borders = np.array([breakpoint_m(environment.value, *row) for row in zip(ghz, h_bs, h_ut, strict=True)])
        sides = np.array([1 - 1e-9, 1 + 1e-9])[np.arange(num) % 2]
        # A quarter of the points sits on a breakpoint.
        d_2d = np.where(np.arange(num) % 4 < 1, np.clip(borders * sides, low_m, high_m), d_2d)
    modelled = path_loss_db(environment, d_2d, is_los, carrier_ghz=ghz, h_bs_m=h_bs, h_ut_m=h_ut)
    expected = [loss_db(environment.value, is_los, *row) for row in zip(d_2d, ghz, h_bs, h_ut, strict=True)]
    worst = float(np.max(np.abs(modelled - expected)))
    name = f"path loss {environment.value} {'los' if is_los else 'nlos'}: largest error (dB)"
    return figure(name, worst, "<= 0.01 dB", holds=worst <= 0.01, points=num)


def _golden_loss(values: dict[str, float]) -> Figure:
    heights_m = {"UMi": 10.0, "UMa": 25.0, "InF": 1.5}
    errors = []
    for name, expected in values.items():
        model, point = name.split("@")
        family, state = model.split("_")
        ghz, d_3d = (float(part.removesuffix("GHz").removesuffix("m")) for part in point.split(","))
        hall = "inf_sl" if state == "LOS" else f"inf_{state.lower()}"
        environment = Environment(hall if family == "InF" else family.lower())
        d_2d = np.sqrt(d_3d**2 - (heights_m[family] - 1.5) ** 2)
        loss = path_loss_db(environment, d_2d, state == "LOS", carrier_ghz=ghz, h_bs_m=heights_m[family], h_ut_m=1.5)
        errors.append(abs(float(loss) - expected))
    worst = max(errors)
    return figure(
        "path loss, golden file: largest error (dB)", worst, "<= 0.01 dB", holds=worst <= 0.01, points=len(errors)
    )


def _ns3_loss() -> Figure:
    errors = [
        abs(float(path_loss_db(Environment(model), float(d), is_los, carrier_ghz=5.0)) - expected)
        for (model, is_los), points in NS3_LOSS_DB.items()
        for d, expected in points.items()
    ]
    worst = max(errors)
    name = "path loss, ns-3's published expectations (RMa, UMa, UMi): largest error (dB)"
    return figure(name, worst, "<= 0.01 dB", holds=worst <= 0.01, points=len(errors))


def _golden_sigma(values: dict[str, float]) -> Figure:
    errors = []
    for name, expected in values.items():
        family, state = name.split("_")
        hall = "inf_sl" if state == "LOS" else f"inf_{state.lower()}"
        environment = Environment(hall if family == "InF" else family.lower())
        errors.append(abs(float(shadowing_sigma_db(environment, state == "LOS", 50.0, carrier_ghz=3.5)) - expected))
    worst = max(errors)
    return figure("shadow fading sigma, golden file: largest error (dB)", worst, "<= 0.01 dB", holds=worst <= 0.01)


def _golden_los(values: dict[str, float]) -> Figure:
    worst = max(abs(float(modelled_los_probability(Environment.UMI, float(d))) - p) for d, p in values.items())
    return figure("LOS probability UMi, golden file: largest error", worst, "<= 0.0001", holds=worst <= 1e-4)


def _los_frequency(environment: Environment, rng: np.random.Generator) -> Figure:
    """Frequency of line of sight among drawn links against the published probability at their distances."""
    height_m = BASE_STATION_HEIGHT_M[environment]
    d_2d = rng.uniform(1.0, 60.0 if environment.value.startswith("inf") else 300.0, NUM_LOS_DRAWS)
    drawn = rng.random(NUM_LOS_DRAWS) < modelled_los_probability(environment, d_2d)
    expected = np.mean([los_probability(environment.value, d, height_m, 1.5) for d in d_2d])
    error = abs(float(drawn.mean() / expected) - 1.0)
    return figure(f"LOS frequency {environment.value}: relative error", error, "<= 1 %", holds=error <= 0.01)


def _simulated_los_frequency(seed: int) -> Figure:
    """The same as the simulator decides it for each of its links."""
    chosen = scenario("smart-city", 60_000)
    bounds = bounds_of(chosen)
    state = build_state(chosen, nearest_by_tile(chosen, bounds), bounds, np.random.default_rng(seed))
    site = np.array([[cell.x_m, cell.y_m] for cell in chosen.topology.cells])[state.links["cell"]]
    d_2d = np.hypot(state.devices["x_m"][:, None] - site[..., 0], state.devices["y_m"][:, None] - site[..., 1])
    seen = np.empty(d_2d.shape, dtype=bool)
    for k, cell in enumerate(state.links["cell"].T):
        # Only the sight of the serving link is kept, so each link serves once.
        state.devices["cell"] = cell
        draw_links(state, chosen.step_s)
        seen[:, k] = state.devices["is_los"]
    environment = chosen.topology.cells[0].environment
    expected = np.mean([los_probability(environment.value, d, 10.0, 1.5) for d in d_2d.ravel()])
    error = abs(float(seen.mean() / expected) - 1.0)
    return figure(
        "LOS frequency in the simulator's links: relative error", error, "<= 1 %", holds=error <= 0.01, links=seen.size
    )


def _shadow_correlation(seed: int) -> Figure:
    """Correlation of shadowing over distance against exp(-d / correlation distance)."""
    offsets = np.array([0.0, 5.0, 13.0, 26.0, 65.0])
    draws = np.array(
        [
            shadowing_field(offsets, np.zeros(5), correlation_m=13.0, rng=np.random.default_rng([seed, index]))
            for index in range(4000)
        ]
    )
    error = float(np.max(np.abs(np.corrcoef(draws.T)[0] - np.exp(-offsets / 13.0))))
    return figure("shadowing correlation: largest error", error, "<= 0.05", holds=error <= 0.05)


def _golden_cqi(values: list[float]) -> Figure:
    worst = float(np.max(np.abs(CQI_EFFICIENCY - values)))
    return figure("CQI table, golden file: largest error (bit/RE)", worst, "<= 0.0001", holds=worst <= 1e-4)


def _golden_airtime(values: dict[str, float]) -> Figure:
    errors = []
    for name, milliseconds in values.items():
        found = re.fullmatch(r"SF(\d+),(\d+)B,BW125,CR4/5", name)
        if found is None:
            raise ValueError(f"golden airtime {name!r}: expected 'SF9,13B,BW125,CR4/5'")
        settings = LoraSettings(spreading_factor=int(found.group(1)))
        errors.append(abs(time_on_air_us(int(found.group(2)), settings) - round(1000 * milliseconds)))
    return figure("LoRa airtime, golden file: largest error (us)", max(errors), "0 us", holds=max(errors) == 0)


def _block_errors(data: Path) -> Figure:
    table = json.loads((data / "sionna_bler" / "PDSCH_table1.json").read_text())
    squares = [
        (
            block_error_rate_of_length(np.array(row["SNR_db"]), int(mcs), float(length))
            - np.array(row["CBS"][length]["BLER"])
        )
        ** 2
        for mcs, row in table["category"]["1"]["index"]["1"]["MCS"].items()
        for length in ("100", "500", "1000", "2000")
    ]
    error = float(np.sqrt(np.mean(squares)))
    return figure("block error curves against Sionna: root mean square error", error, "<= 0.02", holds=error <= 0.02)
