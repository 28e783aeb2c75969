//
// asio/timers.cpp
// ~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/timers.hpp>

#include <spindle/detail/asio/asio_core.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/sched/parker.hpp>
#include <spindle/error.hpp>

#include <system_error>
#include <thread>

namespace spindle::detail {

namespace {

// For deadlines that no scheduler sees to. The queue lives as long as the process:
// its thread may be in it at any time.
class timer_thread final : public timer_queue {
public:
    static timer_thread& get()
    {
        static auto& instance = *new timer_thread; // again where this one has thrown
        return instance;
    }

private:
    timer_thread()
    try {
        std::thread([this] { run(); }).detach();
    } catch (std::system_error const&) {
        throw_error(
            make_error_code(errc::thread_limit),
            "the thread for deadlines outside any scheduler could not be started: raise the "
            "limit on threads, or wait in a fiber of a spindle::scheduler");
    }

    [[noreturn]] void run() noexcept
    {
        for (;;) {
            expire(now());
            if (auto const next = earliest_hint(); next != time_point::max()) {
                wake_.park_until(next);
            } else {
                bystander const idle(&has_deadline, this); // it wakes nobody, until then
                wake_.park();
            }
        }
    }

    static bool has_deadline(void const* self) noexcept
    {
        return static_cast<timer_thread const*>(self)->earliest_hint() != time_point::max();
    }

    void on_earliest(time_point) noexcept override { wake_.unpark(); }

    parker wake_;
};

} // namespace

timer_queue* timers_of(fiber_record& self) noexcept
{
    auto* const p = machine::current()->held();
    if (p && p->timers && &p->owner == self.scheduler())
        return p->timers;
    auto* const core = asio_core_of(self);
    return core ? core->timers() : nullptr;
}

timer_queue& timers_for(fiber_record* self)
{
    if (self)
        if (auto* const own = timers_of(*self))
            return *own;
    // Where a schedule is explored, its clock goes for what is outside its fibers, too.
    if (other_time.load(std::memory_order_relaxed)) [[unlikely]]
        if (auto* const m = machine::current(); m && m->home())
            if (auto& home = static_cast<asio_core&>(*m->home()); home.keeps_time())
                return *home.timers();
    return timer_thread::get();
}

} // namespace spindle::detail
