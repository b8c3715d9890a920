# SPDX-License-Identifier: Apache-2.0
"""A page that shows how well codes search: one HTML file, and a picture for a README."""

from fasthash.report.content import Example, Hit, Method, Report, choose_examples
from fasthash.report.figures import save_picture
from fasthash.report.page import render, write_report

__all__ = ["Example", "Hit", "Method", "Report", "choose_examples", "render", "save_picture", "write_report"]
