"""accelform base-image build|context: make what images for Kubernetes stand on, with a builder or without one."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelform.cli.printing import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="build a base image, push it, and print its reference by digest",
        description="Put the runtime on a root file system with Python, push that, and print its reference by digest.",
    )
    build.add_argument(
        "--rootfs",
        required=True,
        metavar="REFERENCE|FOLDER|TAR",
        help="an image with Python by digest, or what debootstrap or mmdebstrap made",
    )
    build.add_argument("--push", required=True, metavar="REGISTRY/NAME[:TAG]", help="where to push it")
    build.add_argument(
        "--builder",
        choices=("auto", "buildah", "podman", "docker", "none"),
        default="auto",
        help="program to build with; none: without one; auto: the first that works here, else none (default: auto)",
    )
    build.add_argument(
        "--builder-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="a global option for the builder, such as --builder-option=--storage-driver=vfs; may be repeated",
    )
    build.add_argument(
        "--registry-ca-file", default="", metavar="FILE", help="certificate of the registry's authority, if private"
    )
    context = actions.add_parser(
        "context",
        help="write the Containerfile and runtime.tar for a builder of your own",
        description="Write the Containerfile and runtime.tar into a folder, for a builder of your own.",
    )
    context.add_argument("folder", type=Path, help="folder to write them into; it is made")


def run(args: argparse.Namespace) -> int:
    """Prints the reference by digest and nothing else, so that a script can take it; progress goes to stderr."""
    from accelform.images import base_image, builders
    from accelform.images.context import write_context

    if args.action == "context":
        print(write_context(args.folder).containerfile)
        return 0
    built = base_image.build(
        args.rootfs,
        target=args.push,
        builder=builders.choose(args.builder, options=args.builder_option, ca_file=args.registry_ca_file, progress=say),
        ca_file=args.registry_ca_file,
        progress=say,
    )
    print(built.reference)
    return 0
