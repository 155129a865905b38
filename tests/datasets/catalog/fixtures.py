"""A few images of every data set in its distributed layouts, with realistic file names and lists."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Rows = list[tuple[str, str | None, str]]
"""(path of the image, split, class name), in the order of the reader."""


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(stream, "JPEG")
    return stream.getvalue()


JPEG = jpeg()


def write(root: Path, name: str, content: bytes | str = JPEG) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_images(root: Path, rows: Rows) -> Rows:
    for name, _, _ in rows:
        write(root, name)
    return rows


def imagenet(root: Path) -> Rows:
    write(root, "ILSVRC2012_devkit_t12.tar.gz", b"")
    return write_images(
        root,
        [
            ("train/n01440764/n01440764_10026.JPEG", "train", "tench"),
            ("train/n15075141/n15075141_999.JPEG", "train", "toilet paper"),
            ("val/n04008634/ILSVRC2012_val_00000293.JPEG", "test", "projectile"),
        ],
    )


def caltech101(root: Path) -> Rows:
    top = "101_ObjectCategories"
    write(root, f"{top}/BACKGROUND_Google/image_0001.jpg")
    write(root, f"{top}/Faces_easy/image_0001.jpg")
    return write_images(
        root,
        [
            (f"{top}/Faces/image_0001.jpg", None, "face"),
            (f"{top}/Motorbikes/image_0002.jpg", None, "motorbike"),
            (f"{top}/airplanes/image_0001.jpg", None, "airplane"),
            (f"{top}/car_side/image_0003.jpg", None, "car_side"),
        ],
    )


def oxford_pets(root: Path) -> Rows:
    write(root, "annotations/trainval.txt", "Abyssinian_100 1 1 1\nshiba_inu_34 32 2 25\n")
    write(root, "annotations/test.txt", "american_pit_bull_terrier_7 3 2 2\n")
    return write_images(
        root,
        [
            ("images/Abyssinian_100.jpg", "train", "abyssinian"),
            ("images/shiba_inu_34.jpg", "train", "shiba_inu"),
            ("images/american_pit_bull_terrier_7.jpg", "test", "american_pit_bull_terrier"),
        ],
    )


def flowers102(root: Path) -> Rows:
    labels = np.array([[77, 1, 12, 102]], dtype=np.uint8)
    savemat(root / "imagelabels.mat", {"labels": labels})
    sets = {"trnid": [[2, 4]], "valid": [[3]], "tstid": [[1]]}
    savemat(root / "setid.mat", {name: np.array(ids, dtype=np.uint16) for name, ids in sets.items()})
    write(root, "cat_to_name.json", json.dumps({"1": "pink primrose"}))
    return write_images(
        root,
        [
            ("jpg/image_00002.jpg", "train", "pink primrose"),
            ("jpg/image_00004.jpg", "train", "blackberry lily"),
            ("jpg/image_00003.jpg", "val", "colt's foot"),
            ("jpg/image_00001.jpg", "test", "passion flower"),
        ],
    )


def dtd(root: Path) -> Rows:
    rows: Rows = [
        ("images/banded/banded_0002.jpg", "train", "banded"),
        ("images/polka-dotted/polka-dotted_0001.jpg", "val", "polka-dotted"),
        ("images/zigzagged/zigzagged_0119.jpg", "test", "zigzagged"),
    ]
    for name, split, _ in rows:
        write(root, f"labels/{split}1.txt", name.removeprefix("images/") + "\n")
    return write_images(root, rows)


def eurosat(root: Path) -> Rows:
    return write_images(
        root,
        [
            ("2750/AnnualCrop/AnnualCrop_1.jpg", None, "Annual Crop Land"),
            ("2750/SeaLake/SeaLake_3000.jpg", None, "Sea or Lake"),
        ],
    )


def sun397(root: Path) -> Rows:
    write(root, "ClassName.txt", "/a/abbey\n/t/theater/indoor_procenium\n")
    write(root, "Training_01.txt", "/a/abbey/sun_aaalbzqrimafwbiv.jpg\n/t/theater/indoor_procenium/sun_aaslkgqabyeezlem.jpg\n")
    write(root, "Testing_01.txt", "/y/youth_hostel/sun_avjjddkwqxnqjhkk.jpg\n")
    return write_images(
        root,
        [
            ("SUN397/a/abbey/sun_aaalbzqrimafwbiv.jpg", "train", "abbey"),
            ("SUN397/t/theater/indoor_procenium/sun_aaslkgqabyeezlem.jpg", "train", "indoor_procenium theater"),
            ("SUN397/y/youth_hostel/sun_avjjddkwqxnqjhkk.jpg", "test", "youth_hostel"),
        ],
    )


def ucf101(root: Path) -> Rows:
    train = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g08_c02.avi 37\n"
    write(root, "ucfTrainTestlist/trainlist01.txt", train)
    write(root, "ucfTrainTestlist/testlist01.txt", "YoYo/v_YoYo_g01_c01.avi\n")
    top = "UCF-101-midframes"
    return write_images(
        root,
        [
            (f"{top}/Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c01.jpg", "train", "Apply_Eye_Makeup"),
            (f"{top}/Handstand_Pushups/v_HandStandPushups_g08_c02.jpg", "train", "Handstand_Pushups"),
            (f"{top}/Yo_Yo/v_YoYo_g01_c01.jpg", "test", "Yo_Yo"),
        ],
    )


def food101(root: Path) -> Rows:
    write(root, "meta/train.txt", "apple_pie/1005649\ncheese_plate/1014681\n")
    write(root, "meta/test.txt", "waffles/971843\n")
    return write_images(
        root,
        [
            ("images/apple_pie/1005649.jpg", "train", "apple_pie"),
            ("images/cheese_plate/1014681.jpg", "train", "cheese_plate"),
            ("images/waffles/971843.jpg", "test", "waffles"),
        ],
    )


def stanford_cars(root: Path) -> Rows:
    (root / "devkit").mkdir(parents=True)
    boxes = {f"bbox_{corner}": 1 for corner in ("x1", "y1", "x2", "y2")}
    train = [boxes | {"class": 14, "fname": "00001.jpg"}, boxes | {"class": 3, "fname": "00002.jpg"}]
    savemat(root / "devkit" / "cars_train_annos.mat", {"annotations": struct_array(train)})
    test = struct_array([boxes | {"class": 181, "fname": "00001.jpg"}])
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": test})
    return write_images(
        root,
        [
            ("cars_train/00001.jpg", "train", "2012 Audi TTS Coupe"),
            ("cars_train/00002.jpg", "train", "2012 Acura TL Sedan"),
            ("cars_test/00001.jpg", "test", "2007 Suzuki Aerio Sedan"),
        ],
    )


def struct_array(rows: list[dict[str, object]]) -> np.ndarray:
    """A MATLAB struct array, 1 x N."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for number, row in enumerate(rows):
        array[0, number] = tuple(row.values())
    return array


def fgvc_aircraft(root: Path) -> Rows:
    rows: Rows = [
        ("images/1025794.jpg", "train", "707-320"),
        ("images/0056978.jpg", "val", "F/A-18"),
        ("images/1514522.jpg", "test", "BAE 146-200"),
    ]
    for name, split, label in rows:
        write(root, f"images_variant_{split}.txt", f"{Path(name).stem} {label}\n")
    return write_images(root, rows)


def resisc45(root: Path) -> Rows:
    rows: Rows = [
        ("NWPU-RESISC45/airplane/airplane_001.jpg", "train", "airplane"),
        ("NWPU-RESISC45/railway_station/railway_station_700.jpg", "val", "railway station"),
        ("NWPU-RESISC45/sea_ice/sea_ice_017.jpg", "test", "sea ice"),
    ]
    for name, split, _ in rows:
        write(root, f"resisc45-{split}.txt", f"{Path(name).name}\n")
    return write_images(root, rows)


def python2_batch(data: np.ndarray, field: str, labels: list[int]) -> bytes:
    """A batch in the format of CIFAR's files: a protocol 2 pickle written by Python 2 and an old numpy."""
    count = len(data)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    pixels = b"T" + struct.pack("<i", data.nbytes) + data.tobytes()
    state = b"(K\x01K" + bytes([count]) + b"M\x00\x0c\x86" + dtype + b"\x89" + pixels + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + state + b"U" + bytes([len(field)]) + field.encode() + numbers + b"u."


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar10(root: Path) -> Rows:
    rows: Rows = []
    names = {0: "airplane", 9: "truck"}
    for number in range(1, 6):
        write(root, f"data_batch_{number}", python2_batch(pixels(2, number), "labels", [0, 9]))
        rows += [(f"data_batch_{number}/{row:05d}", "train", names[label]) for row, label in enumerate([0, 9])]
    write(root, "test_batch", python2_batch(pixels(1), "labels", [9]))
    return [*rows, ("test_batch/00000", "test", "truck")]


def cifar100(root: Path) -> Rows:
    write(root, "train", python2_batch(pixels(2), "fine_labels", [1, 99]))
    write(root, "test", python2_batch(pixels(1), "fine_labels", [0]))
    return [("train/00000", "train", "aquarium fish"), ("train/00001", "train", "worm"), ("test/00000", "test", "apple")]


DISTRIBUTED: dict[str, Callable[[Path], Rows]] = {
    make.__name__: make
    for make in (
        imagenet,
        caltech101,
        oxford_pets,
        flowers102,
        dtd,
        eurosat,
        sun397,
        ucf101,
        food101,
        stanford_cars,
        fgvc_aircraft,
        cifar10,
        cifar100,
        resisc45,
    )
}

COOP: dict[str, tuple[str, str, Rows]] = {
    "caltech101": (
        "split_zhou_Caltech101.json",
        "101_ObjectCategories",
        [("Faces/image_0274.jpg", "train", "face"), ("Leopards/image_0001.jpg", "test", "leopard")],
    ),
    "oxford_pets": (
        "split_zhou_OxfordPets.json",
        "images",
        [("havanese_179.jpg", "train", "havanese"), ("Abyssinian_201.jpg", "test", "abyssinian")],
    ),
    "flowers102": (
        "split_zhou_OxfordFlowers.json",
        "jpg",
        [("image_06734.jpg", "train", "pink primrose"), ("image_00001.jpg", "val", "passion flower")],
    ),
    "dtd": (
        "split_zhou_DescribableTextures.json",
        "images",
        [("banded/banded_0107.jpg", "train", "banded"), ("woven/woven_0001.jpg", "test", "woven")],
    ),
    "eurosat": (
        "split_zhou_EuroSAT.json",
        "2750",
        [("AnnualCrop/AnnualCrop_1.jpg", "train", "Annual Crop Land"), ("SeaLake/SeaLake_2.jpg", "val", "Sea or Lake")],
    ),
    "sun397": (
        "split_zhou_SUN397.json",
        "SUN397",
        [("a/abbey/sun_a.jpg", "train", "abbey"), ("a/apse/indoor/sun_b.jpg", "test", "indoor apse")],
    ),
    "ucf101": (
        "split_zhou_UCF101.json",
        "UCF-101-midframes",
        [("Yo_Yo/v_YoYo_g09_c04.jpg", "train", "Yo_Yo"), ("Jump_Rope/v_JumpRope_g01_c01.jpg", "test", "Jump_Rope")],
    ),
    "food101": (
        "split_zhou_Food101.json",
        "images",
        [("apple_pie/1005649.jpg", "train", "apple_pie"), ("tacos/1005650.jpg", "test", "tacos")],
    ),
    "stanford_cars": (
        "split_zhou_StanfordCars.json",
        ".",
        [
            ("cars_train/00001.jpg", "train", "2012 Acura RL Sedan"),
            ("cars_test/00001.jpg", "test", "2012 smart fortwo Convertible"),
        ],
    ),
}


def coop(root: Path, dataset: str, names: list[str]) -> Rows:
    """The layout of CoOp: images as distributed, with its split file next to them."""
    file, folder, rows = COOP[dataset]
    split = {key: [[path, names.index(name), name] for path, of, name in rows if of == key] for key in ("train", "val", "test")}
    write(root, file, json.dumps(split))
    prefix = "" if folder == "." else f"{folder}/"
    return write_images(root, [(prefix + path, of, name) for path, of, name in rows])
