import pydantic
import pytest

from hpa.datasets import ClassFolders, MissingSourceError, list_images


@pytest.fixture
def folder(tmp_path):
    for name in ("healthy/dish1_1.jpg", "healthy/dish1_2.jpg", "ill/dish2_1.png", "ill/deep/dish3_1.jpg"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "root" / "ill" / "Thumbs.db").touch()
    (tmp_path / "root" / "ill" / ".hidden.png").touch()
    (tmp_path / "root" / ".git").mkdir()
    return tmp_path / "root"


def test_classes_ids_and_paths(folder):
    listing = list_images(ClassFolders(folder=folder))
    assert listing.images["image_id"].tolist() == [
        "healthy_dish1_1",
        "healthy_dish1_2",
        "ill_deep_dish3_1",
        "ill_dish2_1",
    ]
    assert listing.images["paths"][3] == [f"{folder}/ill/dish2_1.png"]
    assert listing.classes.names == ("healthy", "ill")
    assert not listing.classes.multi_label
    assert listing.labels["ill"].tolist() == [0, 0, 1, 1]
    assert listing.problems.empty


def test_groups_by_pattern(folder):
    with_group = list_images(ClassFolders(folder=folder, group_pattern=r"(?:^|/)([^_/]+)_"))
    assert with_group.images["name_group"].tolist() == ["dish1", "dish1", "dish3", "dish2"]
    assert with_group.group_columns == ("name_group",)
    whole = list_images(ClassFolders(folder=folder, group_pattern=r"dish[12]"))
    assert whole.images["name_group"].tolist() == ["dish1", "dish1", "", "dish2"]
    with pytest.raises(ValueError, match=r"fits no file, such as 'dish1_1\.jpg'"):
        list_images(ClassFolders(folder=folder, group_pattern="plate"))
    with pytest.raises(pydantic.ValidationError, match="not a regular expression"):
        ClassFolders(folder=folder, group_pattern="(")


def test_chosen_classes_keep_their_order(folder):
    (folder / "other").mkdir()
    listing = list_images(ClassFolders(folder=folder, classes=("ill", "healthy")))
    assert listing.classes.names == ("ill", "healthy")
    with pytest.raises(
        ValueError, match=r"no folder for the classes \['sick'\]; there are \['healthy', 'ill', 'other'\]"
    ):
        list_images(ClassFolders(folder=folder, classes=("ill", "sick")))


def test_one_id_twice(folder):
    (folder / "ill" / "dish2_1.jpg").write_bytes(b"x")
    listing = list_images(ClassFolders(folder=folder))
    assert len(listing.images) == 4
    assert listing.problems[["image_id", "problem"]].to_numpy().tolist() == [["ill_dish2_1", "duplicate_id"]]


def test_links_out_of_the_folder(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "ill" / "link.png").symlink_to(tmp_path / "secret.png")
    listing = list_images(ClassFolders(folder=folder))
    assert listing.problems["problem"].tolist() == ["unsafe_path"]
    assert len(list_images(ClassFolders(folder=folder, follow_links=True)).images) == 5


def test_errors_that_stop(folder, tmp_path):
    with pytest.raises(MissingSourceError, match="no such folder"):
        list_images(ClassFolders(folder=tmp_path / "none"))
    with pytest.raises(ValueError, match=r"at least two, but found \['deep'\]"):
        list_images(ClassFolders(folder=folder / "ill"))
    for name in ("a", "b"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="no image that can be used"):
        list_images(ClassFolders(folder=tmp_path / "empty"))


def test_channels_are_checked(folder):
    for channels in ((), ("a", "a"), ("a b",)):
        with pytest.raises(pydantic.ValidationError):
            ClassFolders(folder=folder, channels=channels)


def test_the_fingerprint_follows_names_and_sizes(folder):
    first = list_images(ClassFolders(folder=folder)).fingerprint
    (folder / "ill" / "dish2_1.png").rename(folder / "ill" / "dish2_2.png")
    second = list_images(ClassFolders(folder=folder)).fingerprint
    (folder / "ill" / "dish2_2.png").write_bytes(b"xyz")
    assert len({first, second, list_images(ClassFolders(folder=folder)).fingerprint}) == 3


def test_real_folders(sample_data):
    cells = list_images(ClassFolders(folder=sample_data / "healthy_metastatic", group_pattern="^([^_]+)_"))
    assert cells.labels[["healthy", "metastatic"]].sum().tolist() == [39, 46]
    assert cells.images["name_group"].value_counts().to_dict() == {"BJRas1": 46, "BJprimary1": 26, "BJprimary2": 13}
    tiles = list_images(ClassFolders(folder=sample_data / "lc25000"))
    assert tiles.labels.iloc[:, 1:].sum().tolist() == [5] * 5
