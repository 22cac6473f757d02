import numpy as np
import pytest

from hpa.datasets import Kaggle2018, Kaggle2021, MissingSourceError, list_images
from hpa.labels import HPA2018, HPA2021

COLORS = ("red", "green", "blue", "yellow")


@pytest.fixture
def folder(tmp_path):
    """Images a, b, c in three formats; d lacks a channel."""
    folder = tmp_path / "train"
    folder.mkdir()
    for name, ending in (("a", "png"), ("b", "jpg"), ("c", "tif.gz")):
        for color in COLORS:
            (folder / f"{name}_{color}.{ending}").write_bytes(b"x")
    for color in COLORS[:3]:
        (folder / f"d_{color}.png").write_bytes(b"x")
    return folder


def table(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text)
    return path


def problems_of(listing):
    return dict(zip(listing.problems["image_id"], listing.problems["problem"], strict=True))


def test_images_labels_and_problems(tmp_path, folder):
    text = "ID,Label\nc,18\na,8|5|0\nb,19\nd,1\nmissing,2\n../a,3\n"
    listing = list_images(Kaggle2021(folder=folder, csv=table(tmp_path, text)))
    assert listing.images["image_id"].tolist() == ["a", "c"]
    assert listing.images["paths"][0] == [f"{folder}/a_{color}.png" for color in COLORS]
    assert listing.images["paths"][1] == [f"{folder}/c_{color}.tif.gz" for color in COLORS]
    assert listing.images["source"].unique().tolist() == ["kaggle2021"]
    assert listing.labels["image_id"].tolist() == ["a", "c"]
    assert np.flatnonzero(listing.labels.drop(columns="image_id").to_numpy()[0]).tolist() == [0, 5, 8]
    assert listing.labels["Negative"].tolist() == [0, 1]
    assert problems_of(listing) == {
        "b": "bad_label",
        "d": "missing_channel",
        "missing": "missing_file",
        "../a": "unsafe_id",
    }
    assert listing.problems.set_index("image_id").loc["d"].tolist() == [
        "missing_channel",
        f"no file for yellow in {folder}",
        5,
    ]
    assert listing.classes == HPA2021
    assert listing.channels == COLORS


def test_fewer_channels_need_fewer_files(tmp_path, folder):
    source = Kaggle2021(folder=folder, csv=table(tmp_path, "ID,Label\nd,1\n"), channels=("green", "red"))
    assert list_images(source).images["paths"][0] == [f"{folder}/d_green.png", f"{folder}/d_red.png"]


def test_without_labels_the_folder_tells_the_images(tmp_path, folder):
    listing = list_images(Kaggle2021(folder=folder))
    assert listing.images["image_id"].tolist() == ["a", "b", "c"]
    assert listing.labels.empty
    assert problems_of(listing) == {"d": "missing_channel"}
    sample = list_images(Kaggle2021(folder=folder, csv=table(tmp_path, "ID,ImageWidth\na,2048\n")))
    assert sample.images["ImageWidth"].tolist() == ["2048"]
    assert sample.labels.empty


def test_the_list_of_the_atlas(tmp_path, folder):
    text = (
        "Image,Label,Label_idx,Cellline,in_trainset\n"
        'https://images.proteinatlas.org/4109/a,"Nucleoplasm,Cytosol",0|16,U-2 OS,False\n'
        "https://images.proteinatlas.org/4109/b,Vesicles,17,A-431,False\n"
        "https://images.proteinatlas.org/77/c,Rods & Rings,,A-431,True\n"
    )
    listing = list_images(Kaggle2021(folder=folder, csv=table(tmp_path, text)))
    assert listing.images["image_id"].tolist() == ["a", "b"]
    assert listing.images["antibody"].tolist() == ["4109", "4109"]
    assert listing.images["Cellline"].tolist() == ["U-2 OS", "A-431"]
    assert listing.group_columns == ("antibody",)
    assert problems_of(listing) == {"c": "bad_label"}


def test_the_2018_labels_and_their_map_to_2021(tmp_path, folder):
    path = table(tmp_path, "Id,Target\na,16 0\nb,8 9\nc,27\n")
    plain = list_images(Kaggle2018(folder=folder, csv=path))
    assert plain.classes == HPA2018
    assert plain.labels["image_id"].tolist() == ["a", "b", "c"]
    assert plain.labels.loc[0, ["Cytokinetic bridge", "Nucleoplasm"]].tolist() == [1, 1]
    mapped = list_images(Kaggle2018(folder=folder, csv=path, classes="hpa2021"))
    assert mapped.classes == HPA2021
    assert [np.flatnonzero(row).tolist() for row in mapped.labels.drop(columns="image_id").to_numpy()] == [[0], [17]]
    assert problems_of(mapped) == {"c": "bad_label"}
    assert "no class of 2021 for Rods & rings" in mapped.problems["detail"][0]


def test_columns_can_be_named_and_give_groups(tmp_path, folder):
    path = table(tmp_path, "name;what;plate\na;1;p\nb;2;q\n")
    source = Kaggle2021(folder=folder, csv=path, id_column="name", label_column="what", group_columns=("plate",))
    listing = list_images(source)
    assert listing.images["plate"].tolist() == ["p", "q"]
    assert listing.group_columns == ("plate",)


def test_links_out_of_the_folder(tmp_path, folder):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    for color in COLORS:
        (folder / f"e_{color}.png").symlink_to(secret)
    path = table(tmp_path, "ID,Label\na,1\ne,1\n")
    assert problems_of(list_images(Kaggle2021(folder=folder, csv=path))) == {"e": "unsafe_path"}
    assert problems_of(list_images(Kaggle2021(folder=folder, csv=path, follow_links=True))) == {}


def test_errors_that_stop(tmp_path, folder):
    with pytest.raises(MissingSourceError, match=r"set source\.folder"):
        list_images(Kaggle2021(folder=tmp_path / "none"))
    with pytest.raises(MissingSourceError, match=r"set source\.csv"):
        list_images(Kaggle2021(folder=folder, csv=tmp_path / "none.csv"))
    with pytest.raises(ValueError, match=r"there are \['file', 'Label'\]; set source\.id_column"):
        list_images(Kaggle2021(folder=folder, csv=table(tmp_path, "file,Label\na,1\n")))
    with pytest.raises(ValueError, match="no column 'x'"):
        list_images(Kaggle2021(folder=folder, csv=table(tmp_path, "ID,Label\na,1\n"), label_column="x"))
    with pytest.raises(ValueError, match="no image that can be used"):
        list_images(Kaggle2021(folder=folder, csv=table(tmp_path, "ID,Label\n")))
    with pytest.raises(ValueError, match=r"(?s)every entry has a problem.*2 x missing_file, such as 'x'"):
        list_images(Kaggle2021(folder=folder, csv=table(tmp_path, "ID,Label\nx,1\ny,1\n")))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no image that can be used"):
        list_images(Kaggle2021(folder=empty))


def test_the_fingerprint_follows_labels_and_files(tmp_path, folder):
    source = Kaggle2021(folder=folder, csv=table(tmp_path, "ID,Label\na,1\nx,1\n"))
    first = list_images(source).fingerprint
    assert list_images(source).fingerprint == first
    (folder / "unrelated.txt").write_text("x")
    assert list_images(source).fingerprint == first
    (folder / "a_red.png").write_bytes(b"xx")
    changed = list_images(source).fingerprint
    assert changed != first
    for color in COLORS:
        (folder / f"x_{color}.png").write_bytes(b"x")
    grown = list_images(source).fingerprint
    assert grown != changed
    table(tmp_path, "ID,Label\na,2\nx,1\n")
    assert list_images(source).fingerprint != grown


def test_the_real_tables(sample_data, tmp_path):
    old, new = sample_data / "hpa2018", sample_data / "hpa2021"
    names = {path.name.rsplit("_", 1)[0] for path in (old / "train").iterdir()}
    header, *rows = (old / "train.csv").read_text().splitlines()
    chosen = [row for row in rows if row.split(",")[0] in names]
    csv = table(tmp_path, "\n".join([header, *chosen, *rows[:100]]))
    listing = list_images(Kaggle2018(folder=old / "train", csv=csv, classes="hpa2021"))
    assert len(listing.images) == 50
    assert set(listing.problems["problem"]) >= {"missing_file"}
    # Of the images in both tables, mapped labels agree with those of 2021.
    cells = [row.split(",") for row in (new / "train.csv").read_text().splitlines()[1:]]
    both = {name: HPA2021.parse(label) for name, label in cells if name in names}
    shared = listing.labels[listing.labels["image_id"].isin(both)]
    agree = [
        bool(set(np.flatnonzero(values)) & set(both[name]))
        for name, values in zip(shared["image_id"], shared.drop(columns="image_id").to_numpy(), strict=True)
    ]
    assert len(agree) >= 35
    assert np.mean(agree) > 0.9


def test_real_images_without_labels(sample_data):
    listing = list_images(Kaggle2021(folder=sample_data / "hpa2021" / "train"))
    assert [name[:8] for name in listing.images["image_id"]] == ["000a6c98", "b6a469d8"]
