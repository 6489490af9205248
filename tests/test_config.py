"""Settings: one frozen object from flags, environment, file and defaults; all problems in one text."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from stream.config import DECIDING, SETTINGS, ConfigError, Settings, _text, as_written, changes, load
from stream.core.policy import HOUR, MINUTE, Policy, WindowSpec
from stream.durations import duration_text, parse_duration, parse_windows
from stream.errors import UsageError
from stream.sources import LARGEST, OF_THE_BUILD
from tests.live import PROJECT


def problems(
    flags: Mapping[str, str | None] | None = None,
    toml: Path | None = None,
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, toml, environ or {}, **more)
    return caught.value.problems


def write(folder: Path, text: str) -> Path:
    file = folder / "liveshop.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_those_of_the_design() -> None:
    settings = load({}, None, {})
    assert settings == Settings()
    assert settings.policy() == Policy()
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 9464)
    assert settings.checkpoint_every == timedelta(seconds=1)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().group = "other"


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path, 'delay = "1s"\nlateness = "1m"\nmax_future = "1s"\n')
    environ = {"LIVESHOP_DELAY": "2s", "LIVESHOP_LATENESS": "2m", "PATH": "/bin"}
    settings = load({"delay": "3s", "lateness": None}, file, environ)
    assert settings.delay == timedelta(seconds=3)
    assert settings.lateness == timedelta(minutes=2)
    assert settings.max_future == timedelta(seconds=1)
    assert settings.idle_after == timedelta(seconds=5)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load({}, None, {"LIVESHOP_BROKERS": "", "LIVESHOP_DELAY": ""}) == Settings()


def test_every_problem_of_every_source_is_reported_together(tmp_path: Path) -> None:
    file = write(tmp_path, 'delay = 10\nhttp-port = 1\nmax_value = true\nwindows = ["1m", "x"]\n')
    environ = {"LIVESHOP_HTTP_PROT": "1", "LIVESHOP_CURRENCY": "idr", "LIVESHOP_START_AT": "now"}
    found = problems({"top_sessions": "many", "sesion_keep": "1h", "heartbeat_every": "9s"}, file, environ)
    expected = [
        "http-port (did you mean http_port?)",
        "LIVESHOP_HTTP_PROT (did you mean LIVESHOP_HTTP_PORT?)",
        "--sesion-keep (did you mean --session-keep?)",
        "delay: 10: a duration needs a unit: write 10s",
        "max_value: True: true and false are no value here",
        "'x': not a duration",
        "LIVESHOP_CURRENCY: 'idr': no currency of ISO 4217, did you mean IDR?",
        "LIVESHOP_START_AT: 'now': input should be 'earliest' or 'latest'",
        "--top-sessions: 'many'",
        "heartbeat_every: must be at most half of session_timeout",
    ]
    for part in expected:
        assert any(part in problem for problem in found), (part, found)
    assert len(found) == len(expected)


def test_one_text_names_them_all_and_ends_the_command_with_usage() -> None:
    with pytest.raises(UsageError) as caught:
        load({"delay": "1", "lateness": "2"}, None, {})
    assert str(caught.value).splitlines() == [
        "the configuration is wrong:",
        "  - --delay: '1': a duration needs a unit: write 1s for seconds (ms, s, m, h, d are known)",
        "  - --lateness: '2': a duration needs a unit: write 2s for seconds (ms, s, m, h, d are known)",
    ]


def test_settings_that_do_not_go_together_are_reported_with_the_others() -> None:
    found = problems({"windows": "2h", "group": "a b"})
    assert any(problem.startswith("state_retention: must be at least 2h5m10s") for problem in found)
    assert any(problem.startswith("--group: 'a b'") for problem in found)


@pytest.mark.parametrize(
    ("given", "least"),
    [
        ({"windows": "2h"}, "2h5m10s"),
        ({"windows": "1m,1d", "delay": "500ms"}, "1d5m500ms"),
        ({"windows": "1h", "delay": "0s", "lateness": "0s", "state_retention": "59m"}, "1h"),
    ],
)
def test_too_short_a_retention_of_states_names_the_smallest_that_fits(given: dict[str, str], least: str) -> None:
    (problem,) = problems(given)
    assert problem.startswith(f"state_retention: must be at least {least}: ")
    load(given | {"state_retention": least}, None, {})


def test_windows_say_that_days_are_in_utc() -> None:
    (windows,) = (setting for setting in SETTINGS if setting.name == "windows")
    assert "a day in UTC" in windows.help


def test_a_wrong_setting_is_not_blamed_a_second_time_for_its_combination() -> None:
    assert len(problems({"windows": "2h", "state_retention": "abc"})) == 1


@pytest.mark.parametrize(
    ("windows", "text"),
    [
        ("", "at least one is needed"),
        ("1m,1m", "'1m' is used twice"),
        ("1m/2m", "the slide must be above 0 and at most the size"),
        ("1m/0s", "the slide must be above 0"),
        ("0m", "the slide must be above 0"),
        ("60", "a duration needs a unit"),
    ],
)
def test_windows_that_make_no_sense(windows: str, text: str) -> None:
    assert any(text in problem for problem in problems({"windows": windows}))


def test_windows_are_named_by_the_text_before_the_slash() -> None:
    expected = (WindowSpec("1m", MINUTE, MINUTE), WindowSpec("1h", HOUR, 5 * MINUTE))
    assert parse_windows("1m, 1h/5m") == expected


def test_a_list_in_the_file_means_the_same_as_the_text(tmp_path: Path) -> None:
    file = write(tmp_path, 'windows = ["1m", "5m/1m"]\nbrokers = ["a:9092", "b:9092"]\n')
    settings = load({}, file, {})
    assert settings.windows == "1m,5m/1m"
    assert settings.brokers == "a:9092,b:9092"


@pytest.mark.parametrize(
    "flags",
    [
        {"brokers": "localhost"},
        {"brokers": "a:1,"},
        {"brokers": "a:70000"},
        {"http_port": "65536"},
        {"http_port": "-1"},
        {"topic_prefix": "a/b"},
        {"group": ""},
        {"delay": "-1s"},
        {"delay": "1e3s"},
        {"delay": "99999999999999999d"},
        {"idle_after": "0s"},
        {"session_timeout": "31m"},
        {"max_value": "4194304"},
        {"bad_share": "0"},
        {"bad_share": "nan"},
        {"bad_share": "1.1"},
        {"bad_minimum": "0"},
        {"log_level": "loud"},
        {"log_format": "xml"},
        {"currency": "XXX"},
    ],
    ids=str,
)
def test_values_out_of_range_name_their_flag(flags: dict[str, str]) -> None:
    (problem,) = problems(flags)
    assert problem.startswith("--" + next(iter(flags)).replace("_", "-") + ": ")


def test_a_number_without_a_unit_is_wrong_in_the_file_too(tmp_path: Path) -> None:
    for text in ("idle_after = 5", "idle_after = 5.0", 'idle_after = "5"', "idle_after = 0"):
        (problem,) = problems(toml=write(tmp_path, text))
        assert "needs a unit" in problem


def test_a_file_that_cannot_be_read_is_one_problem_among_others(tmp_path: Path) -> None:
    assert len(problems({"delay": "x"}, tmp_path / "none.toml")) == 2
    assert "is not TOML" in problems(toml=write(tmp_path, "delay: 10s"))[0]


HOSTILE: dict[str, Callable[[int], str]] = {
    "a key of many dots": lambda n: "a" + ".a" * (n // 2) + " = 1",
    "keys of many dots": lambda n: ("a" + ".a" * 990 + " = 1\n") * (n // 2000 + 1),
    "lists within lists": lambda n: "delay = " + "[" * n,
    "tables within tables": lambda n: "delay = " + "{a=" * (n // 3),
    "a table of many dots": lambda n: "[" + "a." * min(n, 990) + "a]\ndelay." + "b." * min(n, 990) + "b = 1",
    "a setting that is a deep table": lambda n: "delay" + ".a" * min(n // 4, 990) + " = 1",
    "a setting that is a long list": lambda n: "delay = [\n" + '"1s",\n' * (n // 8) + "]",
    "a setting that is a long text": lambda n: 'delay = """\n' + ("x" * 79 + "\n") * (n // 80) + '"""',
    "a long number": lambda n: "delay = " + "9" * min(n, 3900),
    "unknown keys": lambda n: "".join(f"delayed{i} = 1\n" for i in range(n // 16)),
    "tables": lambda n: "".join(f"[a.b{i}]\n" for i in range(n // 10)),
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_file_of_any_shape_is_read_quickly_and_its_problems_are_short(shape: str, tmp_path: Path) -> None:
    """A key of 50,000 dots took two minutes, and lists within lists ended with a traceback."""
    for size in (1_000, LARGEST - 100):
        began = time.process_time()
        found = problems(toml=write(tmp_path, HOSTILE[shape](size)))
        assert time.process_time() - began < 20
        assert found
        assert all(len(problem) < 1000 for problem in found)


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    assert problems(toml=Path("/dev/zero")) == ["/dev/zero: is larger than 100,000 bytes"]


def test_a_table_in_the_file_is_an_unknown_key(tmp_path: Path) -> None:
    assert problems(toml=write(tmp_path, '[worker]\ndelay = "1s"')) == [f"{tmp_path}/liveshop.toml: unknown key worker"]


def test_what_kubernetes_adds_for_a_service_of_our_name_is_not_ours() -> None:
    link = "tcp://10.0.0.7:9464"
    environ = {
        "LIVESHOP_SERVICE_HOST": "10.0.0.7",
        "LIVESHOP_SERVICE_PORT": "9464",
        "LIVESHOP_SERVICE_PORT_HTTP": "9464",
        "LIVESHOP_PORT": link,
        "LIVESHOP_PORT_9464_TCP": link,
        "LIVESHOP_PORT_9464_TCP_PROTO": "tcp",
        "LIVESHOP_WORKER_SERVICE_HOST": "10.0.0.8",
        "LIVESHOP_WORKER_PORT_9464_TCP_ADDR": "10.0.0.8",
    }
    assert load({}, None, environ) == Settings()


def test_variables_of_the_build_are_no_settings_and_no_mistakes() -> None:
    found = set(re.findall(r'environ\.get\("(LIVESHOP_\w+)"', (PROJECT / "setup.py").read_text()))
    assert found == OF_THE_BUILD
    assert load({}, None, dict.fromkeys(found, "must")) == Settings()


def test_what_is_needed_and_not_given_is_a_problem() -> None:
    assert problems(required=["brokers"]) == ["brokers is needed: give --brokers or LIVESHOP_BROKERS"]
    assert load({"brokers": "k:9092"}, None, {}, required=["brokers"]).brokers == "k:9092"


def test_everything_is_shown_with_units_and_secrets_are_not() -> None:
    shown = load({"delay": "90s", "brokers": "k:9092"}, None, {}).shown()
    assert set(shown) == {setting.name for setting in SETTINGS}
    assert (shown["delay"], shown["lateness"], shown["brokers"]) == ("90s", "5m", "k:9092")
    assert _text(SecretStr("hunter2")) == "***"


def test_what_is_shown_can_be_read_again() -> None:
    settings = load({"delay": "1500ms", "http_port": "0"}, None, {})
    flags = {setting.name for setting in SETTINGS if not setting.secret}
    assert (
        load({name: text for name, text in settings.shown().items() if name in flags - {"brokers"}}, None, {})
        == settings
    )


def test_every_setting_that_a_state_stores_is_told_as_it_was_given() -> None:
    """So that whoever reads a message can type what it says."""
    given = {
        "windows": "30s,90s/30s",
        "delay": "7s",
        "lateness": "0s",
        "max_future": "1500ms",
        "state_retention": "2d",
        "currency": "MYR",
        "max_value": "2000",
        "trust_producer_time": "yes",
    }
    stored = load(given, None, {}).policy().deciding()
    names = {name: name.removesuffix("_ms") for name in stored}
    assert set(DECIDING) <= set(names.values())
    told = {bare: as_written(name, stored[name]) for name, bare in names.items() if bare in DECIDING}
    assert {name: told[name] for name in given} == given
    assert load(told, None, {}).policy().deciding() == stored


def test_changes_name_the_flag_and_both_values() -> None:
    found = changes([("lateness_ms", 300_000, 0), ("windows", [["1m", 60_000, 60_000]], None), ("max_ids", 1, 2)])
    assert list(map(str, found)) == [
        "--lateness was 5m, is now 0s",
        "--windows was 1m, is now not there",
        "max_ids was 1, is now 2",
    ]


@pytest.mark.parametrize("value", [[["1m"]], [1], 10**30, {"a": 1}])
def test_what_no_version_of_ours_has_stored_is_quoted_shortly(value: object) -> None:
    assert len(as_written("delay_ms", value)) < 110


def test_settings_are_given_on_as_flags_without_defaults_and_secrets() -> None:
    given = {"brokers": "a:1,b:2", "topic_prefix": "x.", "lateness": "7m", "trust_producer_time": "yes"}
    given |= {"sasl_mechanism": "plain", "sasl_username": "ops"}
    settings = load(given, None, HUNTER)
    words = settings.as_flags(Settings.model_fields)
    assert words[words.index("--brokers") + 1] == "a:1,b:2"
    names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
    again = load(dict(zip(names, words[1::2], strict=True)), None, HUNTER)
    assert again == settings
    assert "hunter2" not in str(words)


def test_every_setting_has_a_help_text_a_flag_and_a_variable() -> None:
    for setting in SETTINGS:
        assert setting.help
        assert setting.flag == "--" + setting.name.replace("_", "-")
        assert load({}, None, {setting.env: setting.default}) == Settings()


def test_topics_have_the_prefix() -> None:
    assert Settings(topic_prefix="sandbox-1.").topic("live.views") == "sandbox-1.live.views"


@given(st.integers(0, 400 * 86_400_000))
def test_durations_read_back_as_they_were_written(ms: int) -> None:
    duration = timedelta(milliseconds=ms)
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("text", "ms"), [("5m30s", 330_000), ("1h30m", 5_400_000), ("1d2h3m4s5ms", 93_784_005), ("0s", 0)]
)
def test_units_may_follow_one_another(text: str, ms: int) -> None:
    assert parse_duration(text) == timedelta(milliseconds=ms)


@pytest.mark.parametrize("text", ["30s5m", "5m5m", "5m30", "5m 30s", "m", "5m-30s"])
def test_units_that_do_not_get_smaller_are_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except ValueError as error:
        assert "duration" in str(error)  # noqa: PT017 - either is right


# -- a secured Kafka


SECRETS = {setting.name for setting in SETTINGS if setting.secret}
LOGIN = {"sasl_mechanism": "PLAIN", "sasl_username": "ann"}
HUNTER = {"LIVESHOP_SASL_PASSWORD": "hunter2"}


@pytest.mark.parametrize(
    ("flags", "protocol"),
    [
        ({}, "plaintext"),
        (LOGIN, "sasl_ssl"),
        (LOGIN | {"security_protocol": "SASL_PLAINTEXT"}, "sasl_plaintext"),
        (LOGIN | {"sasl_mechanism": "scram-sha-512"}, "sasl_ssl"),
        ({"security_protocol": "ssl"}, "ssl"),
    ],
)
def test_a_login_goes_through_tls_unless_somebody_says_otherwise(flags: dict[str, str], protocol: str) -> None:
    assert load(flags, None, HUNTER if "sasl_mechanism" in flags else {}).protocol == protocol


def test_a_ca_alone_means_tls(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    assert load({"tls_ca_file": str(file)}, None, {}).protocol == "ssl"


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({"security_protocol": "sasl_ssl"}, {}, ["sasl_mechanism: is needed"]),
        ({"security_protocol": "plaintext"}, HUNTER, ["sasl_password: nobody logs in without a sasl_mechanism"]),
        (LOGIN | {"security_protocol": "ssl"}, HUNTER, ["sasl_mechanism: ssl knows no login"]),
        (LOGIN, {}, ["sasl_password: PLAIN needs sasl_password or sasl_password_file"]),
        ({"sasl_mechanism": "PLAIN"}, HUNTER, ["sasl_username: PLAIN needs sasl_username"]),
        ({"sasl_mechanism": "GSSAPI"}, {}, ["--sasl-mechanism: 'GSSAPI': input should be 'PLAIN'"]),
        (LOGIN | {"sasl_scope": "x"}, HUNTER, ["sasl_scope: PLAIN has no use for it"]),
        (
            LOGIN | {"sasl_mechanism": "OAUTHBEARER"},
            {},
            ["sasl_username: OAUTHBEARER has no use", "sasl_token_file: OAUTHBEARER needs sasl_token_file or"],
        ),
        (
            {"sasl_mechanism": "OAUTHBEARER", "sasl_token_url": "ftp://x"},
            {},
            ["sasl_token_url: must begin", "sasl_client_id: sasl_token_url needs", "sasl_secret: sasl_token"],
        ),
        ({"security_protocol": "sasl_ssl", "tls_check_hostname": "perhaps"}, {}, ["--tls-check-hostname", "sasl_mech"]),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_and_said_once(
    flags: dict[str, str], environ: dict[str, str], expected: list[str]
) -> None:
    found = problems(flags, None, environ)
    for part in expected:
        assert any(problem.startswith(part) for problem in found), (part, found)
    assert len(found) == len(expected)


def test_files_that_are_missing_empty_or_something_else_are_reported_together(tmp_path: Path) -> None:
    ca, key, empty = tmp_path / "ca.pem", tmp_path / "key.pem", tmp_path / "password"
    ca.write_text("no certificate")
    key.write_text("no key")
    empty.touch()
    files = {"tls_ca_file": str(tmp_path / "none.pem"), "tls_key_file": str(key), "sasl_password_file": str(empty)}
    found = problems(LOGIN | files)
    assert found == [
        f"tls_ca_file: {tmp_path}/none.pem is not there",
        f"sasl_password_file: {empty} is empty",
        "tls_key_file: is of no use without tls_cert_file",
    ]
    (problem,) = problems({"tls_ca_file": str(ca)})
    assert problem == f"tls_ca_file: {ca} holds no certificates in PEM (no certificate or crl found)"


CLIENT = {"sasl_mechanism": "OAUTHBEARER", "sasl_client_id": "liveshop"}


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://id.example/token", None),
        ("http://127.0.0.1:8080/token", None),
        ("http://[::1]/token", None),
        ("http://localhost/token", None),
        ("http://id.example/token", "http would send the secret and the token in the clear: make it https"),
        ("http://127.0.0.1.example/token", "http would send"),
        ("http://0.0.0.0/token", "http would send"),
        ("HTTP://id.example/token", "http would send"),
        ("https://ann:pw@id.example/token", "must not hold a user or a password"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https:///token", "must begin with https://"),
        ("https://[::1/token", "invalid IPv6 URL"),
        ("https://id.example:99999/token", "port out of range"),
    ],
)
def test_a_secret_goes_through_tls_or_stays_on_this_machine(url: str, wrong: str | None) -> None:
    given = CLIENT | {"sasl_token_url": url}, None, {"LIVESHOP_SASL_SECRET": "hunter2"}
    if wrong is None:
        assert load(*given).sasl_token_url == url
    else:
        (problem,) = problems(*given)
        assert problem.startswith(f"sasl_token_url: {wrong}")
        assert "pw" not in problem


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (
            b"delay = " + b"[" * 3_000,
            "is not TOML: line 1 is longer than 2,000 characters; a list may go over several lines",
        ),
        (b"delay = " + b"[\n" * 40_000, "is not TOML that anybody writes: it is nested too deep"),
        (b"group = 'caf\xe9'", "is not UTF-8"),
        (b"# " + b"x" * 100_000, "is larger than 100,000 bytes"),
    ],
)
def test_a_settings_file_is_bounded_and_no_traceback(tmp_path: Path, content: bytes, wrong: str) -> None:
    file = tmp_path / "liveshop.toml"
    file.write_bytes(content)
    assert problems({}, file, {}) == [f"{file}: {wrong}"]


def test_a_file_that_is_too_large_for_what_it_should_hold_is_not_read(tmp_path: Path) -> None:
    """Sparse: reading it whole would take gigabytes."""
    file = tmp_path / "large"
    with file.open("wb") as opened:
        opened.truncate(2**34)
    for name, most in (("sasl_password_file", "65,536"), ("tls_ca_file", "10,000,000")):
        assert f"{name}: {file} is larger than {most} bytes: is it the right one?" in problems({name: str(file)})
    settings = load(LOGIN, None, HUNTER).model_copy(update={"sasl_password": None, "sasl_password_file": file})
    with pytest.raises(UsageError, match=f"{file} cannot be read: is larger than 65,536 bytes"):
        settings.password()


def test_a_certificate_without_its_key_is_wrong_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("worker")
    cert, other = tmp_path / "cert.pem", tmp_path / "other.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    trustme.CA().issue_cert("worker").private_key_pem.write_to_path(str(other))
    for more in ({}, {"tls_key_file": str(other)}):
        (problem,) = problems({"tls_cert_file": str(cert), **more})
        assert problem.startswith(
            f"tls_cert_file: {cert} with the private key in {more.get('tls_key_file', cert)} cannot be used"
        )


def test_secrets_are_known_to_the_environment_and_the_file_but_to_no_flag(tmp_path: Path) -> None:
    assert {"tls_key_password", "sasl_password", "sasl_secret"} == SECRETS
    for name in SECRETS:
        (problem,) = problems({name: "hunter2"})
        assert problem.startswith(f"unknown flag --{name.replace('_', '-')}")
        assert "hunter2" not in problem
    given = load(LOGIN, write(tmp_path, "sasl_password = 'hunter2'"), {})
    assert given.password() == "hunter2"
    assert load(LOGIN, None, HUNTER) == given


def test_a_secret_may_be_in_a_file_but_not_in_two_places(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" hunter2 \n")
    assert load(LOGIN | {"sasl_password_file": str(file)}, None, {}).password() == " hunter2 "
    (problem,) = problems(LOGIN | {"sasl_password_file": str(file)}, None, HUNTER)
    assert problem == "sasl_password_file: give this or sasl_password, not both"


def test_nothing_that_is_printed_holds_a_secret(tmp_path: Path) -> None:
    settings = load(LOGIN, None, HUNTER)
    printed = [repr(settings), str(settings), settings.model_dump_json(), *settings.shown().values()]
    printed += problems({"delay": "x"}, None, HUNTER)
    printed += problems({}, write(tmp_path, "sasl_password = ['hunter2']\nsasl_secret = { hunter2 = 1 }"), {})
    printed += problems({}, None, {"LIVESHOP_SASL_PASWORD": "hunter2"})
    assert not [text for text in printed if "hunter2" in text]
