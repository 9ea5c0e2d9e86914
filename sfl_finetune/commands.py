"""The package's sub-commands; everything heavy is imported once a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sfl_finetune.finite_range import FiniteRange
from sfl_finetune.interruption import stop_on_sigint
from sfl_finetune.size_limits import MOST_ROUNDS, MOST_SEED, MOST_STEPS, MOST_TEXTS, MOST_TOKENS

_SCHEMES = ("lean", "memory_efficient", "sfl", "sl", "centralised")


@click.command()
@click.option("--model", required=True, help="Folder (or cached name) of a Hugging Face causal language model.")
@click.option("--corpus", required=True, type=click.Path(path_type=Path), help="Folder with a JSONL file per site.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Receives the PEFT adapter.")
@click.option(
    "--start-from",
    type=click.Path(path_type=Path),
    help="PEFT adapter of the same base to go on from; its rank and targets are kept.",
)
@click.option("--scheme", type=click.Choice(_SCHEMES), default="lean", show_default=True)
@click.option("--rounds", default=50, show_default=True, type=click.IntRange(1, MOST_ROUNDS))
@click.option(
    "--local-steps", default=4, show_default=True, type=click.IntRange(1, MOST_STEPS), help="Steps a client a round."
)
@click.option("--cut-layer", default=1, show_default=True, type=int, help="Layers each client keeps.")
@click.option("--site-cut", "site_cuts", multiple=True, help="SITE=LAYERS for a site that keeps another number.")
@click.option("--rank", default=16, show_default=True, type=int, help="LoRA rank.")
@click.option(
    "--site-rank", "site_ranks", multiple=True, help="SITE=RANK for a site that holds less; wants --aggregation svd."
)
@click.option("--alpha", type=FiniteRange(0, min_open=True), help="LoRA scale; twice the rank by default.")
@click.option("--dropout", default=0.0, show_default=True, type=FiniteRange(0, 1, max_open=True), help="LoRA dropout.")
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1, MOST_TEXTS))
@click.option("--site-batch", "site_batches", multiple=True, help="SITE=TEXTS for a site with another batch size.")
@click.option("--learning-rate", default=2e-3, show_default=True, type=FiniteRange(0, min_open=True))
@click.option(
    "--schedule",
    type=click.Choice(("linear", "constant")),
    default="linear",
    show_default=True,
    help="linear: the rate falls to 0 by the last round; constant: it stays, so that --resume may add rounds.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(2, MOST_TOKENS),
    help="Longer rows are left out; 1,024 by default, and never more than the model's limit.",
)
@click.option(
    "--wire", type=click.Choice(("fp32", "bf16", "int8", "int4")), help="Format on the link; the scheme's own."
)
@click.option("--precision", type=click.Choice(("fp32", "bf16")), help="Number format of the frozen base.")
@click.option("--aggregation", type=click.Choice(("fedavg", "freeze_a", "svd")), default="fedavg", show_default=True)
@click.option("--u-shape", is_flag=True, help="Keep head and labels at the client, which else sends its completions.")
@click.option(
    "--validation-share",
    default=0.0,
    show_default=True,
    type=FiniteRange(0, 1, max_open=True),
    help="Share of texts held out.",
)
@click.option("--patience", type=click.IntRange(min=1), help="End after so many evaluations without improvement.")
@click.option("--evaluate-every", default=5, show_default=True, type=click.IntRange(min=1), help="In rounds.")
@click.option("--checkpoint-every", default=5, show_default=True, type=click.IntRange(min=1), help="In rounds.")
@click.option("--joins", multiple=True, help="SITE:ROUND; the site takes part from that round on, counted from 0.")
@click.option("--fault", "faults", multiple=True, help="Drill: CLIENT:ROUND:absent|vanish|nan|shape|oversize[:STEP].")
@click.option(
    "--deadline",
    type=FiniteRange(0, min_open=True),
    help="Seconds a round may take a site on the virtual clock; late ones sit out.",
)
@click.option(
    "--site-device", "site_devices", multiple=True, help="SITE=DEVICE of every site, for the deadline's clock."
)
@click.option("--devices", type=click.Path(path_type=Path), help="YAML of devices and links beside the known ones.")
@click.option("--link", help="Name of each site's link to the server, for the deadline.")
@click.option("--mbps", type=FiniteRange(0.001), help="Link rate each way, for the deadline; 100 by default.")
@click.option("--device", default="auto", show_default=True)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events as well.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--overwrite", is_flag=True, help="Begin anew over the adapter, or the unfinished run, that --out holds.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, MOST_SEED))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def finetune(**options: Any) -> None:
    """Fine-tune a causal language model over several sites.

    Each *.jsonl file of --corpus is a site; its rows are {"prompt": text, "completion": text}. Sites send activations;
    without --u-shape their completions cross as well, as token ids. The scheme centralised pools all rows.

    --out ends as a PEFT adapter folder; metrics and checkpoints lie in its `run` folder. SIGINT ends the run after the
    current round.
    """
    # From here on an interruption ends in a document and a checkpoint, even while torch is still being imported.
    with stop_on_sigint() as should_stop:
        from sfl_finetune.at_hand import folder_of

        # A name mistyped is told before torch is imported.
        folder_of(options["model"])
        from sfl_finetune.finetune_run import run_finetune

        run_finetune(options, should_stop)


@click.command()
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Folder (or cached name) of the base.")
@click.option("--adapter", required=True, type=click.Path(path_type=Path), help="PEFT adapter of that base.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Receives the plain model.")
@click.option("--overwrite", is_flag=True, help="Replace the model, or other files, that --out holds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def merge(*, model: Path, adapter: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Fold an adapter into its base: a plain model folder, in the base's own number format."""
    from sfl_finetune.at_hand import folder_of

    folder_of(model)
    from sfl_finetune.merging import merge_adapter

    note = merge_adapter(model, adapter, out, overwrite=overwrite)
    click.echo(json.dumps({"out": str(out), **note}) if as_json else f"merged model in {out}")


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with train.txt and val.txt.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Receives runs, table and plots.")
@click.option("--model", help="Folder of an encoder; the packaged MiniLM, or one pretrained on the texts, by default.")
@click.option("--quick", is_flag=True, help="A tiny encoder, few texts and rounds: shows that all parts work.")
@click.option("--scheme", "schemes", multiple=True, type=click.Choice(_SCHEMES), default=_SCHEMES)
@click.option(
    "--dealing", "dealings", multiple=True, type=click.Choice(("iid", "dirichlet")), help="How texts are dealt."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="80 for centralised and sl, 160 for the others by default; 16 with --quick.",
)
@click.option(
    "--learning-rate",
    type=FiniteRange(0, min_open=True),
    help="0.0005 for centralised and sl, 0.004 for the others by default; 0.00125 and 0.005 with --quick.",
)
@click.option(
    "--precision", type=click.Choice(("fp32", "bf16")), help="Of the frozen base; bf16 by default, fp32 with --quick."
)
@click.option(
    "--target", default=0.89, show_default=True, type=FiniteRange(0, 1), help="Accuracy whose time is reported."
)
@click.option("--report-only", is_flag=True, help="Train nothing; tell what earlier runs in --out came to.")
@click.option("--until-target", is_flag=True, help="End each run once it reaches --target.")
@click.option("--evaluate-every", default=5, show_default=True, type=click.IntRange(min=1), help="In rounds.")
@click.option("--devices", type=click.Path(path_type=Path), help="YAML of devices and links that replace known ones.")
@click.option(
    "--utilisation",
    default=0.3,
    show_default=True,
    type=FiniteRange(0, 1, min_open=True),
    help="Share of peak rates, all devices.",
)
@click.option("--link", help="Name of each client's link to the server.")
@click.option("--mbps", type=FiniteRange(0.001), help="Link rate each way; 100 by default.")
@click.option("--shared-cell", is_flag=True, help="All clients divide one channel.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, MOST_SEED))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def casestudy(**options: Any) -> None:
    """Compare the schemes on text classification with six clients, after the paper's case study.

    Interrupted, the same command goes on where it stopped.
    """
    # From here on an interruption ends in a document and a checkpoint, even while torch is still being imported.
    with stop_on_sigint() as should_stop:
        from sfl_finetune.case_study_run import run_casestudy

        run_casestudy(options, should_stop)
