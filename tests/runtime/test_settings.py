"""Settings: which source wins, what is refused and in which words, and that each is described."""

import re
from pathlib import Path

import pytest

import flaredb
import flaredb_analytics
import flaredb_pd
from flaredb.runtime.settings import (
    KINDS,
    MIB,
    AnalyticsSettings,
    BusSettings,
    ClientSettings,
    PdSettings,
    StoreSettings,
)
from flaredb.runtime.settings_sources import SettingsError, describe, load


def written(folder: Path, text: str) -> Path:
    path = folder / "flaredb.toml"
    path.write_text(text)
    return path


def test_defaults_are_those_that_the_design_names() -> None:
    store, origins = load(StoreSettings, {}, {})
    assert (store.tick_ms, store.election_ticks, store.heartbeat_ticks) == (100, 10, 1)
    assert store.max_turn_bytes == 4 * MIB
    assert (store.applied_delay_ms, store.applied_delay_bytes) == (20, MIB)
    assert (store.commit_delay_ms, store.snapshot_seconds) == (10, 5.0)
    assert store.heartbeat_seconds == 30.0
    pd, _ = load(PdSettings, {}, {})
    assert (pd.wanted_stores, pd.replicas, pd.initial_boundaries) == (3, 3, ("m",))
    assert load(AnalyticsSettings, {}, {})[0].http == "127.0.0.1:7480"
    assert set(origins.values()) == {"default"}


def test_every_setting_is_read_by_something() -> None:
    roots = [Path(package.__path__[0]) for package in (flaredb, flaredb_pd, flaredb_analytics)]
    source = "".join(path.read_text() for root in roots for path in root.rglob("*.py"))
    for kind in KINDS.values():
        for setting in describe(kind):
            assert re.search(rf"ettings\.{setting.name}\b", source), f"{kind}: {setting.name}"


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "tick_ms = 11\nelection_ticks = 21\nprefix = 'top'\n")
    env = {"FLAREDB_TICK_MS": "12", "FLAREDB_ELECTION_TICKS": "22", "OTHER": "ignored"}
    store, origins = load(StoreSettings, {"tick_ms": 13, "prefix": None}, env, path)
    assert (store.tick_ms, store.election_ticks, store.prefix) == (13, 22, "top")
    assert origins["tick_ms"] == "flag --tick-ms"
    assert origins["election_ticks"] == "environment FLAREDB_ELECTION_TICKS"
    assert origins["prefix"] == f"{path}:3"
    assert origins["heartbeat_ticks"] == "default"


def test_a_table_wins_over_the_top_and_holds_for_its_kind_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "heartbeat_seconds = 9\n\n[store]\nheartbeat_seconds = 7\n")
    store, origins = load(StoreSettings, {}, {}, path)
    assert (store.heartbeat_seconds, origins["heartbeat_seconds"]) == (7.0, f"{path}:4")
    pd, origins = load(PdSettings, {}, {}, path)
    assert (pd.heartbeat_seconds, origins["heartbeat_seconds"]) == (9.0, f"{path}:1")


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[client]\ntimeout_seconds = 2\n")
    client, _ = load(ClientSettings, {}, {"FLAREDB_CONFIG": str(path)})
    assert client.timeout_seconds == 2.0


def test_text_becomes_what_the_setting_is(tmp_path: Path) -> None:
    env = {
        "FLAREDB_LABELS": "zone=a, rack=b",
        "FLAREDB_FRESH": "true",
        "FLAREDB_QUOTA_BYTES": "2 GiB",
        "FLAREDB_SNAPSHOT_SECONDS": "2.5",
        "FLAREDB_OPS": "[::1]:7481",
    }
    store, _ = load(StoreSettings, {"log_max_bytes": "2M"}, env)
    assert store.labels == {"zone": "a", "rack": "b"}
    assert store.snapshot_seconds == 2.5
    assert load(PdSettings, {}, env)[0].fresh is True
    assert (store.quota_bytes, store.log_max_bytes) == (2 << 30, 2 << 20)
    assert load(PdSettings, {"initial_boundaries": "c,m,x"}, {})[0].initial_boundaries == (
        *("c", "m", "x"),
    )
    path = written(tmp_path, "[store]\nlabels = {zone = 'z'}\nquota_bytes = '3MB'\n")
    store, _ = load(StoreSettings, {}, {}, path)
    assert (store.labels, store.quota_bytes) == ({"zone": "z"}, 3_000_000)


def test_what_another_kind_knows_is_no_mistake_here() -> None:
    env = {"FLAREDB_HTTP": "0.0.0.0:7480", "FLAREDB_OPS": "0.0.0.0:7481", "FLAREDB_PORT": "1"}
    store, _ = load(StoreSettings, {}, env)
    assert store.ops == "0.0.0.0:7481"


@pytest.mark.parametrize(
    ("kind", "env", "words"),
    [
        (StoreSettings, {"FLAREDB_TIK_MS": "5"}, ["FLAREDB_TIK_MS", "'FLAREDB_TICK_MS'"]),
        (StoreSettings, {"FLAREDB_TICK_MS": "0"}, ["tick_ms", "FLAREDB_TICK_MS", ">= 1"]),
        (StoreSettings, {"FLAREDB_TICK_MS": "soon"}, ["tick_ms", "int"]),
        (StoreSettings, {"FLAREDB_SNAPSHOT_SECONDS": "61"}, ["snapshot_seconds", "<= 60"]),
        (StoreSettings, {"FLAREDB_SNAPSHOT_SECONDS": "nan"}, ["snapshot_seconds"]),
        (StoreSettings, {"FLAREDB_LABELS": "zone"}, ["labels", "name=value"]),
        (StoreSettings, {"FLAREDB_QUOTA_BYTES": "big"}, ["quota_bytes", "'4 MiB'"]),
        (StoreSettings, {"FLAREDB_OPS": "7481"}, ["ops", "FLAREDB_OPS"]),
        (StoreSettings, {"FLAREDB_DATA": ""}, ["data", ">= 1"]),
        (StoreSettings, {"FLAREDB_ELECTION_TICKS": "1"}, ["election_ticks", "twice"]),
        (StoreSettings, {"FLAREDB_NATS_PASSWORD": "x"}, ["nats_user"]),
        (StoreSettings, {"FLAREDB_NATS_USER": "u", "FLAREDB_NATS_CREDS": "c"}, ["not both"]),
        (PdSettings, {"FLAREDB_REPLICAS": "4"}, ["odd"]),
        (PdSettings, {"FLAREDB_TAKEOVER_SECONDS": "1"}, ["keep_alive_seconds"]),
        (PdSettings, {"FLAREDB_INITIAL_BOUNDARIES": "m,c"}, ["rise"]),
        (AnalyticsSettings, {"FLAREDB_HTTP": ""}, ["http"]),
    ],
)
def test_what_is_refused_is_named(
    kind: type[BusSettings], env: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(kind, {}, env)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tick_ms = = 5\n", ["is not TOML", "line 1"]),
        ("\ntik_ms = 5\n", [":2:", "'tik_ms'", "'tick_ms'"]),
        ("[stor]\ntick_ms = 5\n", [":1:", "'stor'", "'store'"]),
        ("[pd]\n\ntick_ms = 5\n", [":3:", "'tick_ms'", "in [pd]"]),
        ("[store]\ntick_ms = 99999\n", [":2)", "tick_ms", "<= 10000"]),
        ("[store]\nlabels = {zone = 3}\n", [":2)", "labels"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refusal:
        load(StoreSettings, {}, {}, path)
    assert str(path) in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        load(StoreSettings, {}, {}, tmp_path / "nowhere.toml")


def test_a_flag_is_named_as_it_is_spelled() -> None:
    spelled = {"timeout_seconds": "--timeout"}
    for flag, value in (("timeout_seconds", "4000"), ("prefix", "a b")):
        with pytest.raises(SettingsError) as refusal:
            load(ClientSettings, {flag: value}, {}, spelled=spelled)
        assert f"(flag {spelled.get(flag, '--prefix')}):" in str(refusal.value)


def test_what_does_not_go_together_is_named_with_its_places(tmp_path: Path) -> None:
    path = written(tmp_path, "nats_user = 'u'\n")
    with pytest.raises(SettingsError) as refusal:
        load(ClientSettings, {}, {"FLAREDB_NATS_CREDS": "c"}, path)
    said = str(refusal.value)
    assert "nats_creds (environment FLAREDB_NATS_CREDS)" in said
    assert f"nats_user ({path}:1)" in said and "nats_password (" not in said


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(SettingsError, match="'tick_ms'"):
        load(StoreSettings, {"tick_sm": 5}, {})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_setting_is_described_and_its_default_is_allowed(kind: type[BusSettings]) -> None:
    described = describe(kind)
    assert all(each.description for each in described)
    flags = {each.name: each.default for each in described}
    assert load(kind, flags, {})[0] == kind()
    units = {each.name: each.unit for each in described}
    assert all(unit == "bytes" for name, unit in units.items() if name.endswith("_bytes"))
    assert all(unit == "seconds" for name, unit in units.items() if name.endswith("_seconds"))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_number_has_two_bounds(kind: type[BusSettings]) -> None:
    for each in describe(kind):
        if isinstance(each.default, int | float) and not isinstance(each.default, bool):
            for wild in (-1, 10**18):
                with pytest.raises(SettingsError, match=each.name):
                    load(kind, {each.name: wild}, {})


def test_only_the_password_is_secret() -> None:
    assert [each.name for each in describe(StoreSettings) if each.secret] == ["nats_password"]
