// A link may name a query in its fragment, which only a script can keep.
location.replace(`/${location.hash}`);
