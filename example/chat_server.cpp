// build: options
//
// chat_server.cpp
// ~~~~~~~~~~~~~~~
// A chat over TCP: one fiber, the hub, knows who is there. Whatever happens comes
// to it through channels, and whatever is to be said leaves it through channels,
// so that nothing here needs a mutex.
//
//   reader --says--> hub --outbox--> writer     for each client, on one strand
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using spindle::error_code;
using spindle::use_fiber;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {

struct options {
    long port = 0;
    long threads = std::max(1u, std::thread::hardware_concurrency());
    long queue = 256;
    long max_line = 512;
    long rate = 50;
    long grace = 2000;
    long send_buffer = 0;
    bool stats = false;
};

// Shared by all who get it: a line to everybody is not copied for each.
using line = std::shared_ptr<std::string const>;

line make_line(std::string text)
{
    text += '\n';
    return std::make_shared<std::string const>(std::move(text));
}

// What a client's fibers and the hub share.
struct client {
    explicit client(std::size_t queue) : outbox(queue) {}

    spindle::channel<line> outbox;    // from the hub
    spindle::channel<void> dismissed; // closed by the hub, which does not know it any more
    std::string farewell;             // set before these two are closed, read after it
    std::string name;                 // the hub's own; empty: not introduced yet
};

using client_ptr = std::shared_ptr<client>;

struct message {
    client_ptr from;
    std::string text;
};

struct departure {
    client_ptr who;
    std::string why;
};

// --- the hub ------------------------------------------------------------------------

class hub {
public:
    // --- any fiber -----------------------------------------------------------------

    // False: the hub takes nobody any more.
    bool join(client_ptr const& who)
    {
        error_code ec;
        joins_.send(who, ec);
        return !ec;
    }

    // Does nothing for a client that was dismissed already.
    void leave(client_ptr const& who, std::string why)
    {
        spindle::select(
            spindle::on_send(departures_, departure{who, std::move(why)}),
            spindle::on_receive(who->dismissed));
    }

    // False: `from` was dismissed.
    bool say(client_ptr const& from, std::string text)
    {
        return spindle::select(
                   spindle::on_send(says_, message{from, std::move(text)}),
                   spindle::on_receive(from->dismissed)) == 0;
    }

    // --- the hub's fiber ---------------------------------------------------------------

    // Until it is asked to stop. It waits nowhere but in this select.
    void run(std::stop_token stop)
    {
        for (bool open = true; open;) {
            spindle::select(
                spindle::on_receive(joins_, [&](auto who) { on_join(*who); }),
                spindle::on_receive(departures_, [&](auto d) { on_departure(*d); }),
                spindle::on_receive(says_, [&](auto m) { on_message(*m); }),
                spindle::on_stop(stop, [&] { open = false; }));
            announce();
        }
        joins_.close(); // who waits there is not one of them yet
        for (auto& who : std::exchange(present_, {}))
            dismiss(*who, "* the server is going down. goodbye");
    }

    // After run().
    std::uint64_t clients() const { return clients_; }
    std::uint64_t lines() const { return lines_; }
    std::uint64_t dropped() const { return dropped_; }

private:
    void on_join(client_ptr const& who)
    {
        ++clients_;
        present_.insert(who);
        tell(who, "* welcome. your name, please");
    }

    void on_departure(departure const& d)
    {
        if (!remove(d.who))
            return;
        // Nobody may be left to read it, but it may be a client that talks too long.
        dismiss(*d.who, "* " + d.why + ". goodbye");
        if (!d.who->name.empty())
            to_all("* " + d.who->name + " has left");
    }

    void on_message(message const& m)
    {
        auto const& [from, text] = m;
        if (present_.find(from) == present_.end())
            return;
        ++lines_;
        if (from->name.empty())
            rename(from, text);
        else if (text.starts_with("/nick "))
            rename(from, text.substr(6));
        else if (text == "/who")
            tell(from, "* here: " + names());
        else if (text == "/quit")
            on_departure({from, "you have left"});
        else if (text.starts_with('/'))
            tell(from, "* there are /nick NAME, /who and /quit");
        else
            to_all(from->name + ": " + text, from);
    }

    void rename(client_ptr const& who, std::string const& name)
    {
        constexpr std::string_view punctuation = "-_.";
        auto const fits = [&](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   punctuation.find(c) != punctuation.npos;
        };
        if (name.empty() || name.size() > 20 || !std::all_of(name.begin(), name.end(), fits))
            return tell(who, "* a name is 1 to 20 letters, digits, '-', '_', '.'. another, please");
        auto const same = [&](client_ptr const& other) { return other->name == name; };
        if (std::any_of(present_.begin(), present_.end(), same))
            return tell(who, "* " + name + " is here already. another, please");
        auto const before = std::exchange(who->name, name);
        tell(who, "* you are " + name + ". here: " + names());
        to_all("* " + (before.empty() ? name + " has joined" : before + " is " + name), who);
    }

    std::string names() const
    {
        std::string all;
        for (auto const& who : present_)
            if (!who->name.empty())
                (all += all.empty() ? "" : ", ") += who->name;
        return all;
    }

    void to_all(std::string text, client_ptr const& but = nullptr)
    {
        news_.push_back({make_line(std::move(text)), but});
    }

    // To those who are introduced. Who is dropped for it is news again.
    void announce()
    {
        for (; !news_.empty(); news_.pop_front()) {
            auto const& [text, but] = news_.front();
            std::vector<client_ptr> slow;
            for (auto const& who : present_)
                if (who != but && !who->name.empty() && !offer(*who, text))
                    slow.push_back(who);
            for (auto const& who : slow)
                drop(who);
        }
    }

    void tell(client_ptr const& who, std::string text)
    {
        if (!offer(*who, make_line(std::move(text))))
            drop(who);
    }

    // Never waits: a client that does not read is its own problem, not the hub's.
    static bool offer(client const& who, line const& text)
    {
        error_code ec;
        return who.outbox.try_send(text, ec);
    }

    void drop(client_ptr const& who)
    {
        if (!remove(who))
            return;
        ++dropped_;
        dismiss(*who, "* you were too slow, and have missed what came next. goodbye");
        if (!who->name.empty())
            to_all("* " + who->name + " was too slow, and has left");
    }

    bool remove(client_ptr const& who) { return present_.erase(who) != 0; }

    static void dismiss(client& who, std::string farewell)
    {
        who.farewell = std::move(farewell);
        who.outbox.close();    // what lies in it is still written
        who.dismissed.close(); // all who wait for it go on
    }

    struct news {
        line text;
        client_ptr but;
    };

    spindle::channel<client_ptr> joins_;
    spindle::channel<departure> departures_;
    spindle::channel<message> says_;

    std::set<client_ptr> present_;
    std::deque<news> news_;
    std::uint64_t clients_ = 0;
    std::uint64_t lines_ = 0;
    std::uint64_t dropped_ = 0;
};

// --- a client: three fibers on one strand ----------------------------------------------

// What a terminal would act on is not passed on.
std::string printable(std::string_view raw)
{
    if (raw.ends_with('\r'))
        raw.remove_suffix(1);
    std::string text(raw);
    for (char& c : text)
        if (static_cast<unsigned char>(c) < ' ' || c == '\x7f')
            c = c == '\t' ? ' ' : '?';
    return text;
}

// Lets a client say so many lines a second, and as many at once.
class pace {
public:
    explicit pace(long rate) : step_(rate == 0 ? 0ns : std::chrono::nanoseconds(1s) / rate) {}

    void wait()
    {
        next_ = std::max(next_, clock_type::now()) + step_;
        if (next_ - clock_type::now() > 1s)
            spindle::this_fiber::sleep_until(next_ - 1s);
    }

private:
    clock_type::duration const step_;
    clock_type::time_point next_ = clock_type::now();
};

// The reader, until the client has no more to say. Returns why.
std::string read_lines(tcp::socket& socket, hub& chat, client_ptr const& me, options const& o)
{
    auto const longest = static_cast<std::size_t>(o.max_line);
    pace talking(o.rate);
    std::string data;
    for (;;) {
        error_code ec;
        auto const n = asio::async_read_until(
            socket, asio::dynamic_buffer(data, longest + 1), '\n', use_fiber[ec]);
        if (ec == asio::error::not_found)
            return "a line has " + std::to_string(longest) + " bytes at most";
        if (ec)
            return "you have left";
        auto text = printable(std::string_view(data).substr(0, n - 1));
        data.erase(0, n);
        if (!text.empty() && !chat.say(me, std::move(text)))
            return "";
        talking.wait();
    }
}

// Takes what the client still sends. A socket that is closed over unread data
// resets the connection, and the farewell may be lost.
void read_the_rest(tcp::socket& socket)
{
    std::array<char, 512> nobody_reads_it;
    for (error_code ec; !ec;)
        socket.async_read_some(asio::buffer(nobody_reads_it), use_fiber[ec]);
}

// The writer, until the hub has dismissed the client.
void write_lines(tcp::socket& socket, client const& me)
{
    error_code ec;
    auto const write = [&](std::string const& text) {
        asio::async_write(socket, asio::buffer(text), use_fiber[ec]);
        return !ec;
    };
    while (auto first = me.outbox.receive()) {
        std::string text = **first;
        while (auto next = me.outbox.try_receive(ec)) // one write for all that lie there
            text += **next;
        if (!write(text))
            return;
    }
    if (write(me.farewell + '\n'))
        socket.shutdown(tcp::socket::shutdown_send, ec);
}

void serve(tcp::socket socket, hub& chat, options const& o)
{
    auto const me = std::make_shared<client>(static_cast<std::size_t>(o.queue));
    if (!chat.join(me))
        return;

    spindle::channel<std::string> heard(1); // why the reader has ended; closed once it is done
    spindle::channel<void> written;         // closed once the writer is done
    std::string why = "you have left";

    // Their destructors stop them and wait: they never outlive what they refer to.
    spindle::fiber<> reader, writer;
    try {
        reader = spindle::spawn({.name = "reader"}, [&] {
            spindle::close_guard const done(heard);
            heard.send(read_lines(socket, chat, me, o));
            read_the_rest(socket);
        });
        writer = spindle::spawn({.name = "writer"}, [&] {
            spindle::close_guard const done(written);
            write_lines(socket, *me);
        });
        spindle::select(
            spindle::on_receive(heard, [&](auto reason) { why = reason.value_or(why); }),
            spindle::on_receive(written), // the connection is broken
            spindle::on_receive(me->dismissed));
    } catch (spindle::system_error const& e) { // no memory for a stack
        why = e.what();
    }

    // From here it has a while to take what it is still owed. Then it is cut off.
    chat.leave(me, why);
    auto const deadline = clock_type::now() + std::chrono::milliseconds(o.grace);
    error_code ec;
    written.receive_until(deadline, ec);
    while (heard.receive_until(deadline, ec))
        ;
}

// --- the door ----------------------------------------------------------------------------

void accept_clients(
    spindle::scheduler& sched,
    tcp::acceptor& acceptor,
    hub& chat,
    spindle::wait_group& sessions,
    options const& o)
{
    for (;;) {
        // The fibers of one client use its socket at the same time: a strand for each.
        // They start where their session is, so they are bound to it, too.
        asio::any_io_executor const place = asio::make_strand(sched.next_executor());
        std::string trouble;
        error_code ec;
        auto socket = acceptor.async_accept(place, use_fiber[ec]);
        if (ec == asio::error::operation_aborted)
            return;
        if (!ec) {
            if (o.send_buffer != 0)
                socket.set_option(
                    asio::socket_base::send_buffer_size(static_cast<int>(o.send_buffer)), ec);
            socket.set_option(asio::socket_base::keep_alive(true), ec);
            sessions.add();
            try {
                spindle::spawn(
                    place,
                    {.name = "session"},
                    [socket = std::move(socket), &chat, &o]() mutable {
                        serve(std::move(socket), chat, o);
                    },
                    [&sessions](std::exception_ptr) { sessions.done(); });
                continue;
            } catch (spindle::system_error const& e) { // no memory for a stack
                sessions.done();
                trouble = e.what();
            }
        } else {
            trouble = ec.message(); // no descriptor left: one comes back as a client leaves
        }
        std::cerr << "cannot accept: " << trouble << '\n';
        spindle::this_fiber::sleep_for(100ms);
    }
}

int run_server(options const& o)
{
    auto& sched = spindle::this_fiber::get_scheduler();
    auto const ex = spindle::this_fiber::get_executor();
    asio::signal_set signals(ex, SIGINT, SIGTERM);
    hub chat;
    spindle::wait_group sessions;
    {
        tcp::acceptor acceptor(
            ex, {asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(o.port)});
        std::cout << "listening on " << acceptor.local_endpoint().port() << std::endl;
        auto const hub_fiber = spindle::spawn(
            {.name = "hub"}, [&](std::stop_token stop) { chat.run(std::move(stop)); });
        auto const door = spindle::spawn(
            {.name = "door"}, [&] { accept_clients(sched, acceptor, chat, sessions, o); });
        error_code ec;
        signals.async_wait(use_fiber[ec]);
        signals.clear(ec); // the next one ends the process at once
    }                      // the door is closed, then the hub says goodbye
    sessions.wait();

    if (o.stats)
        std::cout << "clients=" << chat.clients() << " lines=" << chat.lines()
                  << " dropped=" << chat.dropped() << " fibers=" << sched.stats().spawned
                  << std::endl;
    return 0;
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("A chat server on 127.0.0.1; SIGINT or SIGTERM ends it. Options");
    auto number = [&](char const* name, long& to, long least, long most, char const* what) {
        auto const check = [=](long v) {
            if (v < least || v > most)
                throw po::error(
                    "--" + std::string(name) + " is " + std::to_string(least) + " to " +
                    std::to_string(most));
        };
        known.add_options()(name, po::value(&to)->default_value(to)->notifier(check), what);
    };
    number("port", o.port, 0, 65535, "where to listen; 0: anywhere");
    number("threads", o.threads, 1, 1024, "how many");
    number("queue", o.queue, 1, 1'000'000, "lines that may wait for a client before it is dropped");
    number("max-line", o.max_line, 16, 1'000'000, "bytes of the longest line");
    number("rate", o.rate, 0, 1'000'000, "lines a second that a client may say; 0: any number");
    number("grace", o.grace, 0, 3'600'000, "ms in which one who leaves is given what it is owed");
    number(
        "send-buffer",
        o.send_buffer,
        0,
        100'000'000,
        "bytes that the system keeps for a client; 0: as it likes");
    known.add_options()("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    known.add_options()("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    po::notify(values);
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        return spindle::run(
            [&] { return run_server(o); }, {.processors = static_cast<unsigned>(o.threads)});
    } catch (std::exception const& e) {
        std::cerr << "chat_server: " << e.what() << '\n';
        return 1;
    }
}
