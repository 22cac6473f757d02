from hpa.config import validate
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.source import list_source
from hpa.tables import read_table


def test_the_simulated_atlas_tells_its_antibodies_and_cell_lines(tmp_path):
    source = {"kind": "simulated", "simulation": {"images": 6, "size": 64}}
    config = validate(DatasetConfig, {"out": str(tmp_path), "source": source, "workers": {"kind": "none"}})
    listing, inputs = list_source(config)
    truth = read_table(tmp_path / "simulate" / "truth" / "images.parquet").set_index("image_id")
    assert listing.images["antibody"].tolist() == truth.loc[listing.images["image_id"], "group"].tolist()
    assert listing.images["cell_line"].tolist() == truth.loc[listing.images["image_id"], "cell_line"].tolist()
    assert "true_label" not in listing.images
    assert listing.group_columns == ("antibody",)
    assert set(inputs) == {"simulate", "images"}
    assert listing.problems.empty
