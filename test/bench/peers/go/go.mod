//
// test/bench/peers/go/go.mod
// ~~~~~~~~~~~~~~~~~~~~~~~~~~
// It requires no module: nothing is downloaded.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

module spindle/bench/peers/go

go 1.19
