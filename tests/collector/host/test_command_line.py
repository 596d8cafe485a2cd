"""Which part of a command line leaves the host."""

import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.host.command_line import (
    MAX_CHARACTERS,
    MAX_CHARACTERS_FULL,
    clean,
    describe,
)
from gpu_monitor.collector.settings import Commands

S = "Zq7LxT2vBn9KpR4w"
"""The secret in the lines below; no part of it may remain."""
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"

LEVELS: tuple[Commands, ...] = ("name", "scrubbed")
SECRETS = [
    f"python train.py --token={S}",
    f"python train.py --token {S}",
    f"python train.py --hf-token {S}",
    f"python train.py --hf_token={S}",
    f"python train.py --api-key {S}",
    f"python train.py --api_key={S}",
    f"python train.py --apikey {S}",
    f"python train.py --openaiApiKey {S}",
    f"python train.py --wandb-key {S}",
    f"python train.py --secret {S}",
    f"python train.py --client-secret={S}",
    f"python train.py --aws_secret_access_key {S}",
    f"python train.py --password {S}",
    f"python train.py --password={S}",
    f"python train.py --password '{S} with spaces'",
    f"python train.py '--password={S} with spaces'",
    f"python train.py --passwd {S}",
    f"python train.py --db-pass {S}",
    f"python train.py --passphrase {S}",
    f"python train.py -pwd {S}",
    f"python train.py --private-key {S}",
    f"python train.py --encryption_key={S}",
    f"python train.py --auth {S}",
    f"python train.py --auth-token={S}",
    f"python train.py --access.token {S}",
    f"python train.py --credentials {S}",
    f"python train.py --cookie {S}",
    f"python train.py --bearer {S}",
    f"python train.py --jwt {S}",
    f"python train.py --sas={S}",
    f"python train.py --dsn {S}",
    f"python train.py logger.wandb.api_key={S}",
    f"python train.py +trainer.hub_token={S}",
    f"env HF_TOKEN={S} python train.py",
    f"env OPENAI_API_KEY={S} WANDB_API_KEY={S} python x.py",
    f"env PGPASSWORD={S} psql",
    f"env MYSQL_PWD={S} mysql",
    f"env AWS_SECRET_ACCESS_KEY={S} aws s3 ls",
    f"bash -c 'mysql --password {S}'",
    f"bash -c 'export API_KEY={S} && python train.py'",
    f"bash -c \"curl -H 'Authorization: Bearer {S}' https://x\"",
    f"sh -c \"bash -c 'python x.py --token {S}'\"",
    f"python --api-key {S}",
    f"node --verbose --auth-token {S} server.js",
    f"curl -H 'Authorization: Bearer {S}' https://example.org",
    f"curl -H 'Authorization: Basic {S}' https://example.org",
    f"curl -H 'X-Api-Key: {S}' https://example.org",
    f"curl -u alice:{S} https://example.org",
    f"curl -ualice:{S} https://example.org",
    f"curl https://example.org/?token={S}&x=1",
    f"curl 'https://example.org/?x=1&api_key={S}'",
    f"git clone https://alice:{S}@example.org/x.git",
    f"git clone https://{S}@example.org/x.git",
    f"python x.py --db postgresql://alice:{S}@db/x",
    f"python x.py --url redis://:{S}@cache:6379/0",
    f"mongosh mongodb+srv://alice:{S}@cluster/x",
    f"mysql -p{S} -u alice",
    f"mysqldump -p {S}",
    f"sshpass -p {S} ssh host",
    f"redis-cli -a {S}",
    f"docker login -p {S} -u alice",
    f"zip -P {S} x.zip x",
    f'python serve.py --config \'{{"password": "{S}"}}\'',
    f'python serve.py --config \'{{"api_key":"{S}","x":1}}\'',
    f"python serve.py sk-proj-{S}{S}",
    f"python serve.py sk-ant-api03-{S}-{S}",
    f"python serve.py sk-{S}",
    f"python serve.py sk_live_{S}",
    f"python serve.py hf_{S}",
    f"python serve.py ghp_{S}",
    f"python serve.py github_pat_{S}_{S}",
    f"python serve.py glpat-{S}",
    f"python serve.py xoxb-{S}-{S}",
    f"python serve.py AKIA{S.upper()}",
    f"python serve.py AIza{S}{S}",
    f"python serve.py ya29.{S}",
    f"python serve.py nvapi-{S}",
    f"python serve.py gsk_{S}",
    f"python serve.py r8_{S}",
    f"python serve.py npm_{S}",
    f"python serve.py pypi-{S}",
    f"python serve.py dckr_pat_{S}",
    f"python serve.py SG.{S}.{S}",
    f"python serve.py eyJhbGciOi.{S}.{S}",
    f"python serve.py {S}{S}{S}",
    f"python serve.py --x {HEX}",
]


def pieces(secret: str) -> set[str]:
    """Parts of a secret that are long enough to help an attacker."""
    return {secret[start : start + 6] for start in range(len(secret) - 5)}


@pytest.mark.parametrize("line", SECRETS)
def test_no_part_of_a_secret_leaves_the_host(line: str) -> None:
    for level in LEVELS:
        shown = describe(shlex.split(line), level)
        assert shown is not None
        for secret in (S, S.upper(), HEX):
            assert not any(piece in shown for piece in pieces(secret)), shown
        assert "with spaces" not in shown


def test_there_are_at_least_sixty_patterns() -> None:
    assert len(set(SECRETS)) >= 60


@pytest.mark.parametrize(
    "line",
    [
        "python train.py --max-tokens 512 --tokenizer meta-llama/Llama-3.1-8B",
        "python train.py --num_tokens=2048 --lr 3e-4 --author alice",
        "python -m vllm.entrypoints.openai.api_server --model Qwen/Qwen2.5-72B-Instruct-AWQ",
        "torchrun --nproc-per-node 8 train.py --config configs/a100_80gb.yaml",
        "python train.py model=resnet50 optimizer.weight_decay=0.01 data.path=/data/imagenet",
        "python eval.py --checkpoint checkpoint-Llama-3-8B-Instruct-lora-r16-bs32-step4000",
        "python hf_finetune_model.py co_training_large glue-large-finetune key-value-store-test",
        "python secret_sharing.py task-description-prompts pypi-mirror npm_install_all pk-model",
        "python train.py --keyframes 8 --key-dim 64 --hotkeys on",
        "/opt/conda/envs/py311/bin/jupyter-lab --port=8888",
        "python x.py --url https://example.org:8080/a/b?x=1",
    ],
)
def test_an_ordinary_line_is_unchanged(line: str) -> None:
    assert describe(shlex.split(line), "scrubbed") == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/usr/bin/python3.11 train.py --lr 1", "python3.11 train.py"),
        ("python -u -W ignore /home/alice/x/train.py --lr 1", "python train.py"),
        ("python -m torch.distributed.run --nproc 8 t.py", "python -m torch.distributed.run"),
        ("python -c 'import x'", "python -c"),
        ("bash -c 'mysql -pabc'", "bash -c"),
        ("/opt/conda/bin/python /opt/conda/bin/vllm serve Qwen", "python vllm"),
        ("-bash", "bash"),
        ("node --require x.js server.js", "node server.js"),
        ("julia --project run.jl", "julia run.jl"),
        ("/opt/app/bin/trainer --fast", "trainer"),
        ("ray::train_fn", "ray::train_fn"),
        ("python", "python"),
    ],
)
def test_at_level_name_a_command_is_its_program_and_script(line: str, shown: str) -> None:
    assert describe(shlex.split(line), "name") == shown


def test_the_title_of_a_process_that_renamed_itself_is_split_first() -> None:
    assert describe(["python train.py --data /secret/x"], "name") == "python train.py"


@pytest.mark.parametrize("level", [*LEVELS, "full"])
def test_a_blank_title_is_no_command(level: Commands) -> None:
    assert not describe(["  "], level)


def test_home_folders_do_not_name_their_owner() -> None:
    line = "python /home/alice/x.py --out /mnt/nfs/home/bob/runs /root/y /Users/eve/z /rootfs"

    shown = describe(line.split(), "scrubbed")

    assert shown == "python ~/x.py --out ~/runs ~/y ~/z /rootfs"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("-I/home/bob/x", "-I~/x"),
        ("/mnt//home/bob/x", "/mnt/~/x"),
        ("a/b/home/bob", "a~"),
        ("/home/bob@work/x/home/eve/y", "~/y"),
        ("/Users/bob/home/bob", "~"),
    ],
)
def test_a_home_folder_is_found_anywhere_in_a_path(path: str, shown: str) -> None:
    assert describe(["x", path], "scrubbed") == f"x {shown}"


def test_level_off_shows_nothing_and_level_full_everything() -> None:
    argv = ["python", "train.py", "--token", S]

    assert describe(argv, "off") is None
    assert describe(argv, "full") == " ".join(argv)
    assert describe([], "full") is None


@pytest.mark.parametrize(
    ("dirty", "cleaned"),
    [
        ("a\x1b[31mb\x07", "a[31mb"),
        ("a\nb\tc  d", "a b c d"),
        ("abc\u202edcb\u2066x\u2069", "abcdcbx"),
        ("a\u200bb\u200dc\ufeff\u00ad", "abc"),
        ("a\udcffb", "ab"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("  ünïcode 字  ", "ünïcode 字"),
    ],
)
def test_text_is_one_line_without_control_bidi_and_zero_width(dirty: str, cleaned: str) -> None:
    assert clean(dirty) == cleaned


def test_a_long_line_is_truncated() -> None:
    shown = describe(["x" * 10_000_000], "scrubbed")
    full = describe(["x y " * 5000], "full")

    assert shown is not None and len(shown) == MAX_CHARACTERS and shown.endswith("…")
    assert full is not None and len(full) == MAX_CHARACTERS_FULL


@pytest.mark.parametrize(
    "piece", ["-", "a:", "::", '"', "a+", "=", "/a", "//", "/home/a", "eyJab-"]
)
def test_every_line_is_scrubbed_quickly(piece: str) -> None:
    line = (piece * 4000)[:4000]
    for level in LEVELS:
        began = time.process_time()
        describe(["x", f"{line} b", line], level)
        describe([line], level)
        assert time.process_time() - began < 0.15


@given(st.lists(st.text(max_size=60), max_size=8), st.sampled_from([*LEVELS, "full"]))
def test_whatever_the_arguments_the_text_is_clean_and_short(
    argv: list[str], level: Commands
) -> None:
    shown = describe(argv, level)

    if shown is not None:
        assert shown.isprintable() and len(shown) <= MAX_CHARACTERS_FULL
        shown.encode("utf-8")


@given(st.text(alphabet="abAB019_-.", min_size=1, max_size=12))
def test_whatever_follows_the_name_of_a_secret_is_hidden(value: str) -> None:
    for argv in (["x", f"--token={value}@@"], ["x", f"MY_API_KEY={value}@@"]):
        assert "@@" not in (describe(argv, "scrubbed") or "")
