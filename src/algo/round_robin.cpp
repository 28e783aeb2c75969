//
// algo/round_robin.cpp
// ~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/algo/round_robin.hpp>

#include <spindle/detail/asio/context_service.hpp>
#include <spindle/detail/asio/guest.hpp>
#include <spindle/detail/sched/parker.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace spindle::algo {

// How the thread sleeps when its main context waits in a primitive of
// Boost.Fiber's: inside the io_context, so that handlers run; or, where the user
// has stopped that from inside, beside it.
class round_robin::waiting final : public detail::poller {
public:
    waiting(boost::asio::io_context& ioc, detail::guest& g) : ioc_(ioc), guest_(g) {}

    void wait_until(detail::time_point deadline) noexcept override
    {
        auto const inside = guest_.runs_here();
        auto const stopped = ioc_.stopped();
        if (inside && stopped) {
            parker_.park_until(deadline);
            return;
        }
        {
            auto const guard = boost::asio::make_work_guard(ioc_);
            if (stopped)
                ioc_.restart();
            if (deadline == detail::time_point::max())
                ioc_.run_one();
            else if (deadline <= detail::now())
                ioc_.poll_one();
            else
                ioc_.run_one_until(deadline);
        }
        // Our guard may have been the last work, and its end stops the io_context:
        // it stays as the user had it.
        if (stopped)
            ioc_.stop();
        else if (!inside && ioc_.stopped())
            ioc_.restart();
    }

    void interrupt() noexcept override
    {
        parker_.unpark();
        boost::asio::post(ioc_, [] {});
    }

    detail::guest& owner() const noexcept { return guest_; }

private:
    boost::asio::io_context& ioc_;
    detail::guest& guest_;
    detail::parker parker_;
};

round_robin::round_robin(boost::asio::io_context& ioc)
{
    auto& service = boost::asio::use_service<detail::context_service>(ioc);
    auto& g = static_cast<detail::guest&>(service.core_for(ioc));
    waiting_ = std::make_unique<waiting>(ioc, g);
    take(g.acquire());
    set_home(&g);
    set_waiter(waiting_.get());
}

round_robin::~round_robin()
{
    if (auto* const p = held()) {
        drop();
        waiting_->owner().leave(*p);
    }
}

} // namespace spindle::algo
