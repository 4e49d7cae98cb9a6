import pytest

from official.data.tfrecords import index_images
from tests.official.prepared import example

tf = pytest.importorskip("tensorflow")


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def test_every_image_is_found_with_its_label(tmp_path):
    encoded = [bytes([number]) * size for number, size in enumerate((3, 200, 70_000))]
    labels = [0, -1, 2**40]
    records = [example(*pair) for pair in zip(encoded, labels, strict=True)]
    files = [
        write(tmp_path / "0", records[:2]),
        write(tmp_path / "1", []),
        write(tmp_path / "2", records[2:]),
    ]
    images = index_images(files)
    assert images.labels.tolist() == labels
    for index, expected in enumerate(encoded):
        with open(images.files[images.file[index]], "rb") as file:
            file.seek(images.begin[index])
            assert file.read(images.length[index]) == expected


def test_records_without_a_label_are_refused_by_name_of_the_file(tmp_path):
    path = write(tmp_path / "texts", [tf.train.Example().SerializeToString()])
    with pytest.raises(
        OSError, match="texts does not hold records of an encoded 'image'"
    ):
        index_images([path])


def test_a_torn_file_is_refused(tmp_path):
    path = write(tmp_path / "torn", [example(b"image", 1)])
    whole = (tmp_path / "torn").read_bytes()
    for size in (5, 20, len(whole) // 2):
        (tmp_path / "torn").write_bytes(whole[:size])
        with pytest.raises(OSError, match="torn does not hold"):
            index_images([path])
