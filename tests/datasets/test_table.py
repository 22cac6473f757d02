import pydantic
import pytest

from hpa.datasets import MissingSourceError, Table, list_images
from hpa.labels import HPA2021


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b.png", "deep/a.png", "r.png", "g.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def write(root, text):
    (root / "table.csv").write_text(text)
    return root / "table.csv"


def test_single_label_with_classes_found(root):
    path = write(root, "path,label,patient\na.png,ill,p1\nb.png,well,p2\ndeep/a.png,ill,p1\n")
    listing = list_images(Table(csv=path, label_column="label", group_columns=("patient",)))
    assert listing.images["image_id"].tolist() == ["a", "b", "deep_a"]
    assert listing.images["paths"][2] == [f"{root}/deep/a.png"]
    assert listing.images["patient"].tolist() == ["p1", "p2", "p1"]
    assert listing.classes.names == ("ill", "well")
    assert not listing.classes.multi_label
    assert listing.labels["well"].tolist() == [0, 1, 0]


def test_multi_label_with_own_classes(root):
    path = write(root, "path,label\na.png,x|y\nb.png,none\ng.png,none|x\nr.png,z\n")
    source = Table(csv=path, label_column="label", classes=("x", "y", "none"), multi_label=True, exclusive="none")
    listing = list_images(source)
    assert listing.labels[["x", "y", "none"]].to_numpy().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert listing.problems[["image_id", "problem", "row"]].to_numpy().tolist() == [
        ["g", "bad_label", 4],
        ["r", "bad_label", 5],
    ]
    found = list_images(Table(csv=path, label_column="label", multi_label=True))
    assert found.classes.names == ("none", "x", "y", "z")


def test_known_class_lists_and_no_labels(root):
    path = write(root, "path,label\na.png,8|0\n")
    assert list_images(Table(csv=path, label_column="label", classes="hpa2021")).classes == HPA2021
    assert list_images(Table(csv=path, classes="hpa2018")).labels.empty
    with pytest.raises(ValueError, match="need the names of the classes"):
        list_images(Table(csv=path))


def test_one_column_per_channel(root):
    path = write(root, "name,red,green,label\none,r.png,g.png,x\ntwo,r.png,none.png,y\nthree,no.png,none.png,y\n")
    source = Table(
        csv=path, id_column="name", path_columns=("red", "green"), channels=("red", "green"), label_column="label"
    )
    listing = list_images(source)
    assert listing.images["image_id"].tolist() == ["one"]
    assert listing.images["paths"][0] == [f"{root}/r.png", f"{root}/g.png"]
    assert dict(zip(listing.problems["image_id"], listing.problems["problem"], strict=True)) == {
        "two": "missing_channel",
        "three": "missing_file",
    }
    with pytest.raises(pydantic.ValidationError, match="one path column, or one for each"):
        Table(csv=path, path_columns=("red", "green"))


def test_paths_that_lead_out_are_never_used(root):
    inner = root / "deep"
    path = write(root, "path,label\na.png,x\n../b.png,y\n/etc/passwd,y\n,x\n")
    listing = list_images(Table(csv=path, root=inner, label_column="label"))
    assert listing.images["paths"].tolist() == [[f"{inner}/a.png"]]
    assert listing.problems["problem"].tolist() == ["unsafe_path"] * 3
    assert listing.problems["row"].tolist() == [3, 5, 4] or set(listing.problems["row"]) == {3, 4, 5}


def test_absolute_paths_inside_the_root(root):
    path = write(root, f"path,label\n{root}/a.png,x\n{root}/b.png,y\n")
    assert len(list_images(Table(csv=path, label_column="label")).images) == 2


def test_duplicate_and_unsafe_ids(root):
    path = write(root, "name,path,label\na,a.png,x\na,b.png,x\n../c,b.png,y\nd,g.png,y\n")
    listing = list_images(Table(csv=path, id_column="name", label_column="label"))
    assert listing.images["image_id"].tolist() == ["a", "d"]
    assert sorted(listing.problems["problem"]) == ["duplicate_id", "unsafe_id"]


def test_errors_that_stop(root):
    path = write(root, "path,label\na.png,x\n")
    with pytest.raises(ValueError, match="no column 'file'"):
        list_images(Table(csv=path, path_columns=("file",), label_column="label"))
    with pytest.raises(ValueError, match=r"group_columns: \['plate'\] are not in the table"):
        list_images(Table(csv=path, label_column="label", group_columns=("plate",)))
    with pytest.raises(ValueError, match=r"at least two classes, but 'label' has \('x',\)"):
        list_images(Table(csv=path, label_column="label"))
    with pytest.raises(MissingSourceError, match=r"set source\.root"):
        list_images(Table(csv=path, root=root / "none", label_column="label", classes=("x", "y")))
    with pytest.raises(MissingSourceError, match="no such CSV"):
        list_images(Table(csv=root / "none.csv"))


def test_files_named_by_a_pattern(root):
    path = write(root, "file_id,label\na,x\nb,y\nc,x\n")
    settings = {"csv": path, "id_column": "file_id", "label_column": "label"}
    one = list_images(Table(path_pattern="{file_id}.png", **settings))
    assert one.images["paths"].tolist() == [[f"{root}/a.png"], [f"{root}/b.png"]]
    assert one.problems["problem"].tolist() == ["missing_file"]
    for name in ("00a_red", "00a_blue", "00b_red"):
        (root / f"{name}.png").write_bytes((root / "a.png").read_bytes())
    each = list_images(Table(path_pattern="{file_id:0>3}_{channel}.png", channels=("red", "blue"), **settings))
    assert each.images["paths"].tolist() == [[f"{root}/00a_red.png", f"{root}/00a_blue.png"]]
    assert sorted(each.problems["problem"]) == ["missing_channel", "missing_file"]
    out = list_images(
        Table(path_pattern="{file_id}.png", **settings | {"csv": write(root, "file_id,label\na,x\nb,y\n")})
    )
    assert out.problems.empty


def test_patterns_that_lead_out_or_mean_nothing(root):
    path = write(root, "file_id,label\n../a,x\na,x\nb,y\n")
    listing = list_images(Table(csv=path, path_pattern="{file_id}.png", id_column="label", label_column="label"))
    assert "unsafe_path" in listing.problems["problem"].tolist() or len(listing.images) == 2
    for pattern in ("{file_id", "{file_id.x}.png", "{0[a]}.png", "{}", "plain.png", "{channel}.png", "{file_id:d}"):
        with pytest.raises(pydantic.ValidationError, match="path_pattern"):
            Table(csv=path, path_pattern=pattern, id_column="file_id")
    with pytest.raises(pydantic.ValidationError, match="needs id_column"):
        Table(csv=path, path_pattern="{file_id}.png")
    with pytest.raises(ValueError, match="no column 'plate'"):
        list_images(Table(csv=path, path_pattern="{plate}.png", id_column="file_id", label_column="label"))
