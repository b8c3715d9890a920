// SPDX-License-Identifier: Apache-2.0
#include "check.h"

int main(int argc, char** argv) { return fasthash::check::main(argc, argv); }
