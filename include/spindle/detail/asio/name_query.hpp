//
// spindle/detail/asio/name_query.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// A question to the system's resolver, which answers when it likes to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_ASIO_NAME_QUERY_HPP
#define SPINDLE_DETAIL_ASIO_NAME_QUERY_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/error.hpp>

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <string>
#include <utility>

#include <netdb.h>

namespace spindle::detail {

class waiter;

// Shape
//
//   state   asked -> answered, or asked -> abandoned
//
// Who may touch what
//
//   the fiber that asks   waits; what was found, after `answered`
//   a stopper of it       abandon()
//   a thread that answers answer(): what was found, before `answered`
//
// Why it is correct
//
//   One exchange decides whether the answer or the stop wakes the fiber; the other one
//   touches neither the waiter nor the fiber any more. The query itself belongs to both
//   sides, and goes with the one that leaves last: an answer to nobody is freed there.
//
// Evidence: test/asio/resolve.cpp
class name_query : public boost::intrusive_ref_counter<name_query> {
public:
    name_query(std::string host, std::string service, ::addrinfo const& hints)
        : host_(std::move(host)), service_(std::move(service)), hints_(hints)
    {
    }
    name_query(name_query const&) = delete;
    name_query& operator=(name_query const&) = delete;
    SPINDLE_DECL ~name_query();

    // Asks, and waits for the answer: in a fiber that parks, on a plain thread that
    // blocks. Returns operation_aborted if the fiber is stopped; then nobody needs to
    // wait for the thread that goes on asking. Throws errc::not_in_fiber in a handler,
    // errc::thread_limit.
    SPINDLE_DECL static error_code wait(boost::intrusive_ptr<name_query> const& query);

    // After success.
    ::addrinfo* found() const noexcept { return found_; }
    std::string const& host() const noexcept { return host_; }
    std::string const& service() const noexcept { return service_; }

private:
    friend class name_threads;

    enum class state { asked, answered, abandoned };

    void ask() noexcept;
    void answer() noexcept;
    bool abandon() noexcept;

    std::string const host_, service_;
    ::addrinfo const hints_;
    ::addrinfo* found_ = nullptr;
    error_code error_;
    waiter* waiter_ = nullptr; // whom an answer wakes
    atomic<state> state_{state::asked};
    boost::intrusive_ptr<name_query> next_; // in the queue
};

// Throws errc::not_in_fiber in a handler. False: the fiber was asked to stop.
[[nodiscard]] SPINDLE_DECL bool may_resolve();

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_ASIO_NAME_QUERY_HPP
