"""Radio physics as pure functions: what reaches a device and how many bits that carries.

Every module has scalar functions (`*_scalar*`, and the short ones named below) that compiled kernels may call, and
beside them the same over NumPy arrays (ufuncs that broadcast). Units are in the names: m, GHz, dB, dBm, Hz, bits.

`path_loss`: `path_loss_scalar_db(code, d_2d_m, is_los, carrier_ghz, h_bs_m, h_ut_m)`;
    `path_loss_db(environment, d_2d_m, is_los, carrier_ghz=, h_bs_m=, h_ut_m=)`; `breakpoint_scalar_m`;
    `ENVIRONMENT_CODE[environment]` is the int that kernels use, `BASE_STATION_HEIGHT_M[environment]` and
    `DEVICE_HEIGHT_M` the default antenna heights.
`line_of_sight`: `los_probability_scalar(code, d_2d_m, h_bs_m, h_ut_m)`; `los_probability(environment, d_2d_m, ...)`.
`shadowing`: `shadowing_sigma_scalar_db(code, is_los, d_2d_m, carrier_ghz, h_bs_m, h_ut_m)`,
    `correlation_distance_scalar_m(code, is_los)`,
    `next_shadowing_scalar_db(old_db, moved_m, distance_m, sigma_db, normal)`;
    `shadowing_field(x_m, y_m, correlation_m=, rng=)` draws a unit-variance field over positions, linear in devices.
`noise`: `thermal_noise_scalar_dbm(bandwidth_hz, noise_figure_db)`, `db_to_linear(db)`, `linear_to_db(ratio)`;
    `thermal_noise_dbm`, `decibels_to_linear`, `linear_to_decibels`.
`fading`: `jakes_correlation(speed_mps, carrier_ghz, step_s)`,
    `next_gain_scalar(re, im, rho, fresh_part(rho), normal_re, normal_im) -> (re, im)`,
    `rician_power_scalar(re, im, *steady_and_scattered(k_factor))`.
`modulation`: arrays `MCS_ORDER`, `MCS_RATE`, `MCS_EFFICIENCY` (29 rows), `CQI_EFFICIENCY`, `MCS_OF_CQI` (16 rows).
`block_error`: `block_error_scalar(sinr_db, mcs)`, `required_sinr_scalar_db(mcs, target_bler)`; `block_error_rate`.
`link_adaptation`: `cqi_scalar(sinr_db)` (0-15), `choose_mcs_scalar(sinr_db, target_bler)` (0-28, or -1 when out of
    range); `cqi`, `choose_mcs`.
`transport_block`: `transport_block_scalar_bits(mcs, num_prb, num_re_per_prb)` (bits a slot, exact sizes),
    `goodput_scalar_bits_per_prb(mcs, bler)` (expected bits a PRB and slot); `transport_block_bits`.
`lte_transport_block`: `lte_transport_block_bits(mcs, num_prb)` (bits a subframe), for recordings of LTE cells.
`non_terrestrial`: `slant_range_scalar_m(elevation_deg, altitude_m)`, `one_way_delay_scalar_ms`, `path_loss_scalar_db`,
    `los_probability_scalar(elevation_deg)`, `elevation_scalar_deg(time_s, altitude_m, num_satellites, cross_track_deg)`
    and `is_reachable_scalar` (satellite passes and the outages between them).
"""
