//
// spindle/detail/base/scope_exit.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Calls a function when the scope is left.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_BASE_SCOPE_EXIT_HPP
#define SPINDLE_DETAIL_BASE_SCOPE_EXIT_HPP

#include <type_traits>
#include <utility>

namespace spindle::detail {

template <class Function>
class [[nodiscard]] scope_exit {
public:
    explicit scope_exit(Function f) noexcept(std::is_nothrow_move_constructible_v<Function>)
        : function_(std::move(f))
    {
    }

    scope_exit(scope_exit const&) = delete;
    scope_exit& operator=(scope_exit const&) = delete;

    ~scope_exit()
    {
        if (armed_)
            function_();
    }

    // The function will not be called.
    void release() noexcept { armed_ = false; }

private:
    Function function_;
    bool armed_ = true;
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_BASE_SCOPE_EXIT_HPP
