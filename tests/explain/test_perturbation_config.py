import pydantic
import pytest

from hpa.config import Config, ConfigError, validate
from hpa.explain.perturbation_config import (
    BackgroundSampleBaseline,
    BlackBaseline,
    CellSegments,
    GradientShap,
    KernelShap,
    Lime,
    PartitionShap,
    PerturbationConfig,
    SegmentMeanBaseline,
    SuperpixelSegments,
)


class Holder(Config):
    method: PerturbationConfig = pydantic.Field(KernelShap(), discriminator="kind")


@pytest.mark.parametrize("config", [GradientShap(), PartitionShap(), KernelShap(), Lime()])
def test_every_method_is_told_by_its_kind_and_survives_json(config):
    held = validate(Holder, {"method": {"kind": config.kind}})
    assert held.method == config
    assert Holder.model_validate_json(held.model_dump_json()) == held


def test_parts_are_told_by_their_kinds():
    held = validate(
        Holder,
        {"method": {"kind": "partition_shap", "segments": {"kind": "cells"}, "baseline": {"kind": "black"}}},
    )
    assert held.method == PartitionShap(segments=CellSegments(), baseline=BlackBaseline())


def test_lime_hides_and_explains_as_its_authors_do():
    assert Lime().baseline == SegmentMeanBaseline()
    assert Lime().output == "probability"
    assert Lime().segments == SuperpixelSegments()


def test_gradients_have_no_segments_to_take_a_mean_of():
    assert GradientShap().baseline == BackgroundSampleBaseline()
    with pytest.raises(ConfigError, match="expected one of"):
        validate(Holder, {"method": {"kind": "gradient_shap", "baseline": {"kind": "segment_mean"}}})


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("gradient_shap", "samples", 0),
        ("gradient_shap", "seed", -1),
        ("kernel_shap", "evaluations", 3),
        ("lime", "penalty", 0),
        ("lime", "features", 0),
    ],
)
def test_values_out_of_range_are_refused(kind, key, value):
    with pytest.raises(ConfigError, match=rf"method\.{key}"):
        validate(Holder, {"method": {"kind": kind, key: value}})
