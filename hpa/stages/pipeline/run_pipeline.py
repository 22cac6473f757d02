"""`run_pipeline`: from images with labels to scored cells of new images, every step an artifact of its own."""

from pathlib import Path

from hpa.progress import say
from hpa.stages.cell_level.score_cells_config import CopyConfig
from hpa.stages.pipeline.pipeline_chain import Chain
from hpa.stages.pipeline.pipeline_config import PipelineConfig
from hpa.stages.pipeline.pipeline_report import METRICS, REPORT, write_report

__all__ = ["PipelineConfig", "run"]


def run(config: PipelineConfig) -> Path:
    """Go from images with labels to a submission, each step skipped where its artifact stands.

    Killed at any point, the same command goes on; on the CPU it ends with the same bytes.

    Returns:
        `config.out`: a folder for every step, `metrics.json` (`map` by method and `map_submission`, where the truth of
        the test images' cells is known), `steps.json` (seconds) and `report.html`.

    Raises:
        ArtifactError: something else stands in a step's folder.
        ValueError: a step's input cannot be used; says which.
    """
    chain = Chain(config)
    chain.prepare()
    methods = {"copy": chain.score_images("copy", CopyConfig())}
    if config.cam is not None:
        methods["cam"] = chain.score_images("cam", config.cam)
    if config.bags is not None:
        methods["bag"] = chain.train_bags()
    rounds = chain.pseudo_rounds(methods)
    if config.supervised:
        chain.train_supervised(methods)
    methods["fused"] = chain.fuse(methods, rounds)
    submission = chain.submit(methods["fused"])
    write_report(config, methods, submission, chain.steps, chain.cells("test"))
    say(f"report: {config.out / REPORT}, figures: {config.out / METRICS}")
    return config.out
