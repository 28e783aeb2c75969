//
// spindle/detail/fiber/boost_access.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What we need of Boost.Fiber and it does not show.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_BOOST_ACCESS_HPP
#define SPINDLE_DETAIL_FIBER_BOOST_ACCESS_HPP

#include <spindle/detail/fiber/machine_list.hpp>

#include <boost/context/fiber.hpp>
#include <boost/fiber/context.hpp>
#include <boost/fiber/scheduler.hpp>

#include <cstdint>

namespace spindle::detail {

// An explicit instantiation may name a private member: the one place where we
// reach behind an interface. It fails to compile should a member change its name
// or kind.
template <class Tag, auto Member>
struct expose_member {
    friend constexpr auto member_of(Tag) noexcept { return Member; }
};

struct fss_data_tag {
    friend constexpr auto member_of(fss_data_tag) noexcept;
};

template struct expose_member<fss_data_tag, &boost::fibers::context::fss_data_>;

// Boost.Fiber ends these data where a context terminates, and has no public way
// to do it earlier; a fiber that goes on to its next function needs one.
inline void end_fiber_specific_data(boost::fibers::context& c)
{
    auto& data = c.*member_of(fss_data_tag{});
    // A clean-up may set a value anew, as with thread-specific data: again.
    while (!data.empty()) [[unlikely]] {
        auto first = data.begin();
        auto entry = first->second;
        data.erase(first);
        if (entry.vp)
            entry.do_cleanup();
    }
}

struct worker_queue_tag {
    friend constexpr auto member_of(worker_queue_tag) noexcept;
};

template struct expose_member<worker_queue_tag, &boost::fibers::scheduler::worker_queue_>;

// This thread only, on its main context: every worker that is attached to the
// thread then waits in a primitive of Boost.Fiber's. There is no public way to
// know, and none to count: a context leaves the list where it terminates.
inline bool boost_fiber_has_attached_fibers(boost::fibers::scheduler& s) noexcept
{
    return !(s.*member_of(worker_queue_tag{})).empty();
}

#if !defined(BOOST_USE_UCONTEXT) && !defined(BOOST_USE_WINFIB)

struct saved_context_tag {
    friend constexpr auto member_of(saved_context_tag) noexcept;
};

struct saved_fcontext_tag {
    friend constexpr auto member_of(saved_fcontext_tag) noexcept;
};

template struct expose_member<saved_context_tag, &boost::fibers::context::c_>;
template struct expose_member<saved_fcontext_tag, &boost::context::fiber::fctx_>;

// Any thread, which judges it by what else it knows: where the registers of a
// context lie that does not run; 0: it runs.
inline std::uintptr_t saved_stack_pointer(boost::fibers::context& c) noexcept
{
    return peek(&(c.*member_of(saved_context_tag{}).*member_of(saved_fcontext_tag{})));
}

#else

struct saved_context_tag {
    friend constexpr auto member_of(saved_context_tag) noexcept;
};

struct saved_record_tag {
    friend constexpr auto member_of(saved_record_tag) noexcept;
};

template struct expose_member<saved_context_tag, &boost::fibers::context::c_>;
template struct expose_member<saved_record_tag, &boost::context::fiber::ptr_>;

// The same; it says only whether the context runs.
inline std::uintptr_t saved_stack_pointer(boost::fibers::context& c) noexcept
{
    return peek(&(c.*member_of(saved_context_tag{}).*member_of(saved_record_tag{})));
}

#endif

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_BOOST_ACCESS_HPP
