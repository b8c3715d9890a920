// SPDX-License-Identifier: Apache-2.0
// Numbers of the float32 tanh, for scalar, vector and device code. Minimax fits of this library's own: the relative
// error of either polynomial is below 1e-8 on its interval, a seventh of half an ulp.
#pragma once

namespace fasthash {

// 2^f = 1 + f (exp2_0 + exp2_1 f + ... + exp2_5 f^5), |f| <= 1/2
constexpr float exp2_0 = 0.693147182f, exp2_1 = 0.240226477f, exp2_2 = 0.0555033237f, exp2_3 = 0.00961843785f,
                exp2_4 = 0.00133989018f, exp2_5 = 0.000153533387f;
constexpr float log2_of_e = 1.44269504f;

// tanh(x) = x + x s (tanh_0 + tanh_1 s + ... + tanh_4 s^4) with s = x^2, |x| < tanh_cut. Beyond, 1 - |tanh| is at most
// 0.45, and what is lost by subtracting it from 1 is less than an ulp.
constexpr float tanh_cut = 0.625f;
constexpr float tanh_0 = -0.333332807f, tanh_1 = 0.133314416f, tanh_2 = -0.0537396893f, tanh_3 = 0.0206390154f,
                tanh_4 = -0.00570491422f;

}  // namespace fasthash
