# SPDX-License-Identifier: Apache-2.0
"""What lets fasthash work inside other libraries; each module needs the library that it is named after."""
