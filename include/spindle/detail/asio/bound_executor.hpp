//
// spindle/detail/asio/bound_executor.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A fiber that runs inside an executor: each slice is a function of its.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_BOUND_EXECUTOR_HPP
#define SPINDLE_DETAIL_ASIO_BOUND_EXECUTOR_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/slot_memory.hpp>
#include <spindle/detail/fiber/record.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <utility>

namespace spindle::detail {

// The executor itself, for those who may keep it longer than the fiber lives.
struct bound_target : boost::intrusive_ref_counter<bound_target> {
    explicit bound_target(boost::asio::any_io_executor const& ex) : executor(ex) {}

    boost::asio::any_io_executor const executor;
};

// A slice is posted, never dispatched, so that it starts on a bare main context
// with nothing of the fiber's waker below it; the machine runs that fiber alone
// and comes back to main at once, so no stranger runs inside the executor.
// Holds outstanding work, as any pending operation would.
class SPINDLE_DECL bound_executor final : public slice_poster {
public:
    using executor = boost::asio::any_io_executor;

    explicit bound_executor(executor const& ex)
        : executor_(boost::asio::prefer(
            ex, boost::asio::execution::outstanding_work.tracked)),
          target_(new bound_target(ex))
    {
    }

    void post_slice(fiber_record& g) noexcept override;
    slice_poster* clone() const override { return new bound_executor(get()); }

    executor const& get() const noexcept { return target_->executor; }
    boost::intrusive_ptr<bound_target> const& target() const noexcept { return target_; }

private:
    executor executor_;
    boost::intrusive_ptr<bound_target> target_;
    slot_memory<256> slice_memory_; // one slice at a time
};

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_BOUND_EXECUTOR_HPP
